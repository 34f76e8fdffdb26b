"""The study as a folder of web pages: answer, tables, figures, executed notebooks, networks and sounds.

Made of what is committed, by nbconvert and Jinja2; opens from disk, asks for nothing from the network, runs no script.
May import all other rooms.
"""
