"""What of the pages is made by code, and the site."""
