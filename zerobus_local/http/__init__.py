"""The HTTP interface: OAuth, Unity Catalog, SQL, REST insert, and the web page."""
