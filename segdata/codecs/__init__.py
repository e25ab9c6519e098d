"""Reading and writing image and array files, whole or in bands of rows; no meaning of their values."""
