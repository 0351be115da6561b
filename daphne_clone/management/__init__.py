"""The commands that the Django app adds to manage.py."""
