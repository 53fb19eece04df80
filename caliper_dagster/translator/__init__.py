"""Expanded rows to Caliper events; knows both, does no I/O.

``recipes/`` says which event a Moodle event becomes; ``actors`` who acted (rules R1 and R2);
``entities`` holds one plain function per Caliper entity; ``translate`` assembles events column by
column from what those functions made of each distinct record.
"""

from caliper_dagster.translator.recipes import Recipe, Recipes, load_recipes, read_recipes
from caliper_dagster.translator.translate import Translator

__all__ = ["Recipe", "Recipes", "Translator", "load_recipes", "read_recipes"]
