"""From the files of finished runs to numbers, figures, tables and a page. Never imports torch."""
