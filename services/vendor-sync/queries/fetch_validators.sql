-- What the server said of the file that was fetched last: $1 code.
SELECT pull_etag, pull_last_modified, fetch_failures FROM connection WHERE code = $1
