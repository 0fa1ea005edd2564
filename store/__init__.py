"""Keep records: Parquet files and the views over them."""
