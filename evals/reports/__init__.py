"""What people see of results: terminal, HTML pages, plots and their templates."""
