"""`segdata recipes`: which there are, and what one of them says in full."""

import json
from pathlib import Path

import click

from segdata.commands.options import printable


@click.group("recipes")
def command() -> None:
    """List and show the recipes of training, and begin one of your own.

    \b
      segdata recipes list
      segdata recipes show cityscapes-pspnet-cpp
      segdata recipes keys schedule
      segdata recipes init cityscapes-pspnet-cpp
    """


@command.command("list")
@click.option("--all", "show_all", is_flag=True, help="Name every composed recipe too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(show_all: bool, as_json: bool) -> None:
    """List the bundled recipes: those with a file of their own, and the parts that the others are composed of.

    \b
      segdata recipes list
    """
    from segdata.config.layering import recipe_parts
    from segdata.config.recipe import bundled_recipes, load_recipe

    files = bundled_recipes()
    whole = {name: load_recipe(name).about for name, paths in files.items() if len(paths) == 1}
    parts = recipe_parts()
    if as_json:
        click.echo(json.dumps({"recipes": list(files), "about": whole, "parts": parts}, indent=2))
        return
    wide = max(map(len, whole))
    for name, about in whole.items():
        click.echo(f"{name:<{wide}}  {about}")
    click.echo("\nand DATA-MODEL-LOSS of these, such as cityscapes-pspnet-cpp:")
    for kind, names in parts.items():
        click.echo(f"  {kind:<7} {', '.join(names)}")
    if show_all:
        click.echo()
        for name in (name for name in files if name not in whole):
            click.echo(name)


@command.command()
@click.argument("name", metavar="RECIPE")
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Set a key, as optimizer.lr=0.005.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the digest.")
def show(name: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show RECIPE (a bundled name or a .yaml file) resolved: every setting, those not in its files included.

    \b
      segdata recipes show seethroughnet-cityscapes
      segdata recipes show my-recipe.yaml --set schedule.iterations=1000 > resolved.yaml
    """
    from segdata.config.recipe import dump_recipe, load_recipe, recipe_digest

    recipe = load_recipe(name, overrides)
    if as_json:
        click.echo(json.dumps({"digest": recipe_digest(recipe), "recipe": recipe.model_dump(mode="json")}, indent=2))
        return
    click.echo(f"# {recipe.name}, resolved; digest {recipe_digest(recipe)}")
    click.echo(printable(dump_recipe(recipe)), nl=False)


@command.command()
@click.argument("name", metavar="RECIPE")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: my-RECIPE.yaml.")
def init(name: str, output: Path | None) -> None:
    """Write a recipe of your own that begins as RECIPE, with all of its settings to change.

    It extends RECIPE; every setting follows as a comment. Take the # away before what you change, and before the
    sections above it. A file that is there is not replaced.

    \b
      segdata recipes init cityscapes-pspnet-cpp
      segdata train --config my-cityscapes-pspnet-cpp.yaml --set data.root=/data
    """
    from segdata.config.recipe import dump_recipe, load_recipe
    from segdata.errors import SettingsError
    from segdata.files import write_atomic

    recipe = load_recipe(name)
    path = output or Path(f"my-{Path(name).stem}.yaml")
    if path.suffix not in (".yaml", ".yml"):
        raise SettingsError(f"{path}: is not the name of a recipe file. Expected is one that ends with .yaml.")
    if path.exists():
        raise SettingsError(f"{path}: is there already. Choose another name with -o, or move it away.")
    parent = name if not Path(name).suffix else str(Path(name).absolute())
    lines = [
        f"# Begins as {name}. What every key means: segdata recipes keys",
        f"extends: {parent}",
        "",
        *(f"# {line}" for line in dump_recipe(recipe).splitlines()),
    ]
    write_atomic(path, ("\n".join(lines) + "\n").encode())
    click.echo(path)


@command.command()
@click.argument("section", required=False, default="")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def keys(section: str, as_json: bool) -> None:
    """Say what every key of a recipe means, its default and its choices; with SECTION only those that begin so.

    \b
      segdata recipes keys
      segdata recipes keys augmentation
    """
    from segdata.config.keys import recipe_keys

    chosen = [each for each in recipe_keys() if each.key.startswith(section)]
    if not chosen:
        raise click.BadParameter(
            f"no key begins with {section!r}. `segdata recipes keys` names all.", param_hint="SECTION"
        )
    if as_json:
        click.echo(json.dumps([each._asdict() for each in chosen], indent=2))
        return
    for each in chosen:
        click.echo(f"{each.key}: {each.default}" if each.default else f"{each.key} (to be given)")
        told = [each.about, f"One of {', '.join(each.choices)}."] if each.choices else [each.about]
        click.echo(click.wrap_text(" ".join(told), 100, "    ", "    "))
