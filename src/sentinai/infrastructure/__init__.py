"""Infrastructure: the database, its tables, migrations and repositories, and the embedded server."""
