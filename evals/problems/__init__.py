"""Problem sets: records, the catalogue of sets, and corrections of records that are wrong."""
