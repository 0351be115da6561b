"""What an option is: the kinds of value (kinds, network) and one row of the table (row). The rows: settings.py."""
