"""Videos in TFRecords: schema, shards, reading and conversion."""
