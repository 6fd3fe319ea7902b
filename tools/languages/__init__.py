"""Languages: parsing, definitions, statements and outlines."""
