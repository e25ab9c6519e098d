"""Pages of HTML that show what a command made: one file each, that needs no network and nothing beside it."""
