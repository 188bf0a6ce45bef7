"""The metadata database: SQLite or PostgreSQL behind one schema."""
