# SQL → strings of C. A line "-- name: NAME" begins the string postgres_sql_NAME; other comments and
# empty lines are left out.
function end() { if (begun) print "    ;" }
/^-- name: / { end(); begun = 1; print "static const char postgres_sql_" $3 "[] ="; next }
/^ *--/ || /^ *$/ { next }
{ gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); print "    \"" $0 "\\n\"" }
END { end() }
