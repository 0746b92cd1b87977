"""What commands print for people, named as the commands are: tables and lines, never an address."""
