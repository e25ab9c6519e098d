"""Grids of runs, and what their results say.

`grid` plans runs from settings and seeds, `running` works them off as processes, `results` reads what they came to,
`statistics` compares arms, and `tables` prints them as the paper does.
"""
