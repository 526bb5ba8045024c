# Types: every kind of BSON value in a column of every sensible type.
#
# One collection holds the values below, _id is the number of the line.  It is
# migrated once for each type, with a contract that names the type.  What is
# expected is stated by hand, from the reference and not from the code:
#
#   %expected   for a type, the values that it takes and their text in psql
#               (TimeZone UTC); in single quotes where blanks matter
#   @values     for a value, its relaxed Extended JSON: a value that is not
#               named for a type must stand in _extra so, the column NULL
#
# null and undefined are NULL everywhere.  Text that PostgreSQL cannot hold
# rejects its document everywhere, under the SQLSTATE given instead.
# {HUGE} and the like are numbers written in full.
use strict;
use warnings;
use utf8;

use JSON::PP;
use MongoTest;
use PostgreSQL::Test::Utils;
use Test::More;

my %written = (
	HUGE => '1' . '0' x 6144,
	BIG => '1' . '0' x 308,
	TINY => '0.' . '0' x 323 . '5');

# name | value as the Python below builds it | relaxed form, REJECT sqlstate, or NULL
my @values = parse_values(<<'END');
# int32 and int64: the width is no property of the field.
i_five | i32(5) | 5
i_minus | i32(-5) | -5
i_min | i32(-2**31) | -2147483648
i_max | i32(2**31-1) | 2147483647
i_over16 | i32(32768) | 32768
l_one | i64(1) | 1
l_over32 | i64(2**31) | 2147483648
l_1e10 | i64(10**10) | 10000000000
l_odd | i64(2**53+1) | 9007199254740993
l_min | i64(-2**63) | -9223372036854775808
l_max | i64(2**63-1) | 9223372036854775807
# double
d_five | dbl(5.0) | 5.0
d_tenth | dbl(0.1) | 0.1
d_half | dbl(0.5) | 0.5
d_1005 | dbl(1.005) | 1.005
d_minus0 | dbl(-0.0) | {"$numberDouble": "-0.0"}
d_nan | dbl(float('nan')) | {"$numberDouble": "NaN"}
d_inf | dbl(float('inf')) | {"$numberDouble": "Infinity"}
d_minusinf | dbl(float('-inf')) | {"$numberDouble": "-Infinity"}
d_big | dbl(1e308) | {BIG}.0
d_tiny | dbl(5e-324) | {TINY}
d_2to63 | dbl(2.0**63) | 9223372036854776000.0
d_odd | dbl(16777217.0) | 16777217.0
# decimal128
n_110 | dec('1.10') | {"$numberDecimal": "1.10"}
n_twelve | dec('12') | {"$numberDecimal": "12"}
n_1005 | dec('1.005') | {"$numberDecimal": "1.005"}
n_half | dec('0.5') | {"$numberDecimal": "0.5"}
n_thousand | dec('1E+3') | {"$numberDecimal": "1E+3"}
n_huge | dec('1E+6144') | {"$numberDecimal": "1.000000000000000000000000000000000E+6144"}
n_nan | dec('NaN') | {"$numberDecimal": "NaN"}
n_minusinf | dec('-Infinity') | {"$numberDecimal": "-Infinity"}
n_minus0 | dec('-0') | {"$numberDecimal": "-0"}
# bool
b_true | boolean(True) | true
b_false | boolean(False) | false
# date: from 1970 to 9999 the relaxed form is ISO 8601
t_day | date(1577836800000) | {"$date": "2020-01-01T00:00:00Z"}
t_ms | date(1577836800123) | {"$date": "2020-01-01T00:00:00.123Z"}
t_minus1 | date(-1) | {"$date": {"$numberLong": "-1"}}
t_first | date(-210866803200000) | {"$date": {"$numberLong": "-210866803200000"}}
t_before | date(-210866803200001) | {"$date": {"$numberLong": "-210866803200001"}}
t_last | date(9224318015999999) | {"$date": {"$numberLong": "9224318015999999"}}
t_after | date(9224318016000000) | {"$date": {"$numberLong": "9224318016000000"}}
# string
s_abc | s(b'abc') | "abc"
s_abcdef | s(b'abcdef') | "abcdef"
s_empty | s(b'') | ""
s_umlaut | s(b'gr\xc3\xb6\xc3\x9fe') | "größe"
s_blank | s(b'ab ') | "ab "
s_twelve | s(b'12') | "12"
s_padded | s(b' 12 ') | " 12 "
s_15 | s(b'1.5') | "1.5"
s_1005 | s(b'1.005') | "1.005"
s_day | s(b'2026-01-01') | "2026-01-01"
s_time | s(b'2026-01-01T10:00:00Z') | "2026-01-01T10:00:00Z"
s_zone | s(b'2026-01-01T10:00:00+02:00') | "2026-01-01T10:00:00+02:00"
s_now | s(b'now') | "now"
s_true | s(b'true') | "true"
s_uuid | s(b'00010203-0405-0607-0809-0a0b0c0d0e0f') | "00010203-0405-0607-0809-0a0b0c0d0e0f"
s_array | s(b'{1,2}') | "{1,2}"
s_host | s(b'10.0.0.1') | "10.0.0.1"
s_label | s(b'sent') | "sent"
s_nul | s(b'a\0b') | REJECT 22P05
s_bad | s(b'a\xffb') | REJECT 22021
# binary
x_0 | binary(0, b'\0\1\2') | {"$binary": {"base64": "AAEC", "subType": "00"}}
x_2 | binary(2, b'\3\0\0\0\0\1\2') | {"$binary": {"base64": "AAEC", "subType": "02"}}
x_3 | binary(3, bytes(range(16))) | {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "03"}}
x_4 | binary(4, bytes(range(16))) | {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}}
x_4short | binary(4, b'abcd') | {"$binary": {"base64": "YWJjZA==", "subType": "04"}}
x_5 | binary(5, bytes(range(16))) | {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "05"}}
x_6 | binary(6, b'\1\2secret') | {"$binary": {"base64": "AQJzZWNyZXQ=", "subType": "06"}}
x_9 | binary(9, b'\x27\0\0\0\x80\x3f') | {"$binary": {"base64": "JwAAAIA/", "subType": "09"}}
x_128 | binary(128, b'\xff\xfe') | {"$binary": {"base64": "//4=", "subType": "80"}}
# the others
o_id | oid('65a1f0c2e4b0a1d2c3e4f501') | {"$oid": "65a1f0c2e4b0a1d2c3e4f501"}
regex | (11, b'^a\0im\0') | {"$regularExpression": {"options": "im", "pattern": "^a"}}
code | (13, s(b'f()')[1]) | {"$code": "f()"}
symbol | (14, s(b'sym')[1]) | {"$symbol": "sym"}
scoped | scoped(b'f()', ('x', i32(1))) | {"$code": "f()", "$scope": {"x": 1}}
pointer | (12, s(b'a.b')[1] + bytes(range(12))) | {"$dbPointer": {"$id": {"$oid": "000102030405060708090a0b"}, "$ref": "a.b"}}
stamp | (17, struct.pack('<II', 9, 7)) | {"$timestamp": {"i": 9, "t": 7}}
min_key | (255, b'') | {"$minKey": 1}
max_key | (127, b'') | {"$maxKey": 1}
undefined | (6, b'') | NULL
null | (10, b'') | NULL
# arrays
a_text | arr(s(b'a'), s(b'b')) | ["a", "b"]
a_textnull | arr(s(b'a'), (10, b'')) | ["a", null]
a_textodd | arr(s(b'a'), i32(5)) | ["a", 5]
a_textarr | arr(arr(s(b'a'))) | [["a"]]
a_oid | arr(oid('65a1f0c2e4b0a1d2c3e4f501')) | [{"$oid": "65a1f0c2e4b0a1d2c3e4f501"}]
a_empty | arr() | []
a_int | arr(i32(1), i32(2)) | [1, 2]
a_long | arr(i32(1), i64(2**40)) | [1, 1099511627776]
a_intnull | arr(i32(1), (10, b'')) | [1, null]
a_intodd | arr(i32(1), s(b'x')) | [1, "x"]
a_intstring | arr(i32(1), s(b'12')) | [1, "12"]
a_inthalf | arr(i32(1), dbl(2.5)) | [1, 2.5]
a_intwhole | arr(i32(1), dbl(2.0)) | [1, 2.0]
a_double | arr(dbl(1.5), dbl(-0.0), dbl(float('nan'))) | [1.5, {"$numberDouble": "-0.0"}, {"$numberDouble": "NaN"}]
a_objects | arr(obj(('a', i32(1)))) | [{"a": 1}]
# objects
e_empty | obj() | {}
e_nested | obj(('b', i64(1)), ('a', obj(('x', arr(dec('1.10'), date(0)))))) | {"a": {"x": [{"$numberDecimal": "1.10"}, {"$date": "1970-01-01T00:00:00Z"}]}, "b": 1}
e_twice | obj(('a', i32(1)), ('a', i32(2))) | {"a": 2}
e_ref | obj(('$ref', s(b'c')), ('$id', oid('65a1f0c2e4b0a1d2c3e4f501'))) | {"$id": {"$oid": "65a1f0c2e4b0a1d2c3e4f501"}, "$ref": "c"}
END

my %expected;

# Text takes the text form of every scalar, but not the keys at both ends.
$expected{text} = <<'END';
i_five = 5; i_minus = -5; i_min = -2147483648; i_max = 2147483647; i_over16 = 32768; l_one = 1; l_over32 = 2147483648
l_1e10 = 10000000000; l_odd = 9007199254740993; l_min = -9223372036854775808; l_max = 9223372036854775807
# doubles by their shortest digits
d_five = 5; d_tenth = 0.1; d_half = 0.5; d_1005 = 1.005; d_minus0 = -0; d_nan = NaN; d_inf = Infinity; d_minusinf = -Infinity
d_big = 1e+308; d_tiny = 5e-324; d_2to63 = 9.223372036854776e+18; d_odd = 16777217
# decimals as MongoDB prints them
n_110 = 1.10; n_twelve = 12; n_1005 = 1.005; n_half = 0.5; n_thousand = 1E+3; n_nan = NaN; n_minusinf = -Infinity; n_minus0 = -0
n_huge = 1.000000000000000000000000000000000E+6144
b_true = true; b_false = false
t_day = 2020-01-01T00:00:00.000Z; t_ms = 2020-01-01T00:00:00.123Z; t_minus1 = 1969-12-31T23:59:59.999Z
# years that ISO 8601 has no four digits for: as Extended JSON
t_first = {"$date": {"$numberLong": "-210866803200000"}}; t_before = {"$date": {"$numberLong": "-210866803200001"}}
t_last = {"$date": {"$numberLong": "9224318015999999"}}; t_after = {"$date": {"$numberLong": "9224318016000000"}}
s_abc = abc; s_abcdef = abcdef; s_empty = ''; s_umlaut = größe; s_blank = 'ab '; s_twelve = 12; s_padded = ' 12 '; s_15 = 1.5
s_1005 = 1.005; s_day = 2026-01-01; s_time = 2026-01-01T10:00:00Z; s_zone = 2026-01-01T10:00:00+02:00; s_now = now
s_true = true; s_uuid = 00010203-0405-0607-0809-0a0b0c0d0e0f; s_array = {1,2}; s_host = 10.0.0.1; s_label = sent
x_0 = AAEC; x_2 = AAEC; x_3 = AAECAwQFBgcICQoLDA0ODw==; x_4 = 00010203-0405-0607-0809-0a0b0c0d0e0f; x_4short = YWJjZA==
x_5 = AAECAwQFBgcICQoLDA0ODw==; x_6 = AQJzZWNyZXQ=; x_9 = JwAAAIA/; x_128 = //4=
o_id = 65a1f0c2e4b0a1d2c3e4f501; regex = /^a/im; code = f(); symbol = sym
scoped = {"$code": "f()", "$scope": {"x": 1}}; stamp = {"$timestamp": {"t": 7, "i": 9}}
pointer = {"$dbPointer": {"$ref": "a.b", "$id": {"$oid": "000102030405060708090a0b"}}}
END

# As text, up to five characters; nothing is cut.
$expected{'varchar(5)'} = <<'END';
i_five = 5; i_minus = -5; i_over16 = 32768; l_one = 1
d_five = 5; d_tenth = 0.1; d_half = 0.5; d_1005 = 1.005; d_minus0 = -0; d_nan = NaN
n_110 = 1.10; n_twelve = 12; n_1005 = 1.005; n_half = 0.5; n_thousand = 1E+3; n_nan = NaN; n_minus0 = -0
b_true = true; b_false = false
s_abc = abc; s_empty = ''; s_umlaut = größe; s_blank = 'ab '; s_twelve = 12; s_padded = ' 12 '; s_15 = 1.5; s_1005 = 1.005
s_now = now; s_true = true; s_array = {1,2}; s_label = sent
x_0 = AAEC; x_2 = AAEC; x_128 = //4=; code = f(); symbol = sym
END

# Neither can char(n) tell whose blanks are at the end.
$expected{'char(5)'} = $expected{'varchar(5)'} =~ s/s_blank = 'ab '; //r =~ s/s_padded = ' 12 '; //r;

# A whole double is an integer, so is a whole decimal; minus zero is none.
$expected{smallint} = <<'END';
i_five = 5; i_minus = -5; l_one = 1; d_five = 5; n_twelve = 12; n_thousand = 1000
b_true = 1; b_false = 0; s_twelve = 12; s_padded = 12
END
$expected{integer} = $expected{smallint} . <<'END';
i_min = -2147483648; i_max = 2147483647; i_over16 = 32768; d_odd = 16777217
END
# Dates are milliseconds since 1970 here, whatever timestamptz can hold.
$expected{bigint} = $expected{integer} . <<'END';
l_over32 = 2147483648; l_1e10 = 10000000000; l_odd = 9007199254740993
l_min = -9223372036854775808; l_max = 9223372036854775807
t_day = 1577836800000; t_ms = 1577836800123; t_minus1 = -1; t_first = -210866803200000; t_before = -210866803200001
t_last = 9224318015999999; t_after = 9224318016000000
END
# The CHECK of a domain is one more thing to fit.
$expected{positive} = <<'END';
i_five = 5; i_max = 2147483647; i_over16 = 32768; l_one = 1; d_five = 5; d_odd = 16777217; n_twelve = 12; n_thousand = 1000
b_true = 1; s_twelve = 12; s_padded = 12
END

# Digits and scale of decimals, the shortest digits of doubles.
$expected{numeric} = <<'END';
i_five = 5; i_minus = -5; i_min = -2147483648; i_max = 2147483647; i_over16 = 32768; l_one = 1; l_over32 = 2147483648
l_1e10 = 10000000000; l_odd = 9007199254740993; l_min = -9223372036854775808; l_max = 9223372036854775807
d_five = 5; d_tenth = 0.1; d_half = 0.5; d_1005 = 1.005; d_nan = NaN; d_inf = Infinity; d_minusinf = -Infinity
d_big = {BIG}; d_tiny = {TINY}; d_2to63 = 9223372036854776000; d_odd = 16777217
n_110 = 1.10; n_twelve = 12; n_1005 = 1.005; n_half = 0.5; n_thousand = 1000; n_huge = {HUGE}; n_nan = NaN; n_minusinf = -Infinity
s_twelve = 12; s_padded = 12; s_15 = 1.5; s_1005 = 1.005
END
# Ten digits before the point, and what needs no third one behind it.
$expected{'numeric(12,2)'} = <<'END';
i_five = 5.00; i_minus = -5.00; i_min = -2147483648.00; i_max = 2147483647.00; i_over16 = 32768.00; l_one = 1.00
l_over32 = 2147483648.00; d_five = 5.00; d_tenth = 0.10; d_half = 0.50; d_nan = NaN; d_odd = 16777217.00
n_110 = 1.10; n_twelve = 12.00; n_half = 0.50; n_thousand = 1000.00; n_nan = NaN
s_twelve = 12.00; s_padded = 12.00; s_15 = 1.50
END

# Hundreds, below a hundred thousand.
$expected{'numeric(3,-2)'} = <<'END';
n_thousand = 1000; d_nan = NaN; n_nan = NaN
END

# Floating point: what is exactly a number of the type.
$expected{'double precision'} = <<'END';
i_five = 5; i_minus = -5; i_min = -2147483648; i_max = 2147483647; i_over16 = 32768; l_one = 1; l_over32 = 2147483648
l_1e10 = 10000000000; l_min = -9.223372036854776e+18
d_five = 5; d_tenth = 0.1; d_half = 0.5; d_1005 = 1.005; d_minus0 = -0; d_nan = NaN; d_inf = Infinity; d_minusinf = -Infinity
d_big = 1e+308; d_tiny = 5e-324; d_2to63 = 9.223372036854776e+18; d_odd = 16777217
n_twelve = 12; n_half = 0.5; n_thousand = 1000; n_nan = NaN; n_minusinf = -Infinity; n_minus0 = -0
# a string has no more digits than come out again
s_twelve = 12; s_padded = 12; s_15 = 1.5; s_1005 = 1.005
END
$expected{real} = <<'END';
i_five = 5; i_minus = -5; i_min = -2.1474836e+09; i_over16 = 32768; l_one = 1; l_over32 = 2.1474836e+09; l_1e10 = 1e+10
l_min = -9.223372e+18
d_five = 5; d_half = 0.5; d_minus0 = -0; d_nan = NaN; d_inf = Infinity; d_minusinf = -Infinity; d_2to63 = 9.223372e+18
n_twelve = 12; n_half = 0.5; n_thousand = 1000; n_nan = NaN; n_minusinf = -Infinity; n_minus0 = -0
s_twelve = 12; s_padded = 12; s_15 = 1.5; s_1005 = 1.005
END

$expected{boolean} = <<'END';
b_true = true; b_false = false; s_true = true
END

# Milliseconds in UTC within the type's range; the keys at both ends are its infinities.
# "now" is another time at each load: no value.
$expected{timestamptz} = <<'END';
t_day = 2020-01-01 00:00:00+00; t_ms = 2020-01-01 00:00:00.123+00; t_minus1 = 1969-12-31 23:59:59.999+00
t_first = 4714-11-24 00:00:00+00 BC; t_last = 294276-12-31 23:59:59.999+00
stamp = 1970-01-01 00:00:07+00; min_key = -infinity; max_key = infinity
s_day = 2026-01-01 00:00:00+00; s_time = 2026-01-01 10:00:00+00; s_zone = 2026-01-01 08:00:00+00
END
# Of a string with a zone the instant, in UTC as dates are.
$expected{timestamp} = <<'END';
t_day = 2020-01-01 00:00:00; t_ms = 2020-01-01 00:00:00.123; t_minus1 = 1969-12-31 23:59:59.999
t_first = 4714-11-24 00:00:00 BC; t_last = 294276-12-31 23:59:59.999
stamp = 1970-01-01 00:00:07; min_key = -infinity; max_key = infinity
s_day = 2026-01-01 00:00:00; s_time = 2026-01-01 10:00:00; s_zone = 2026-01-01 08:00:00
END
# No time of day gets lost.
$expected{date} = <<'END';
t_day = 2020-01-01; t_first = 4714-11-24 BC; min_key = -infinity; max_key = infinity; s_day = 2026-01-01
END

# Subtype 3 has no byte order that is known.
$expected{uuid} = <<'END';
x_4 = 00010203-0405-0607-0809-0a0b0c0d0e0f; s_uuid = 00010203-0405-0607-0809-0a0b0c0d0e0f
END

# A string is no bytes: byteain() would make some of "\\x41".
$expected{bytea} = <<'END';
x_0 = \x000102; x_2 = \x000102; x_3 = \x000102030405060708090a0b0c0d0e0f; x_4 = \x000102030405060708090a0b0c0d0e0f
x_4short = \x61626364; x_5 = \x000102030405060708090a0b0c0d0e0f; x_6 = \x0102736563726574; x_9 = \x27000000803f; x_128 = \xfffe
o_id = \x65a1f0c2e4b0a1d2c3e4f501
END

# jsonb takes everything, in the simple form; here what is not as in the relaxed one.
$expected{jsonb} = <<'END';
d_nan = "NaN"; d_inf = "Infinity"; d_minusinf = "-Infinity"
n_110 = 1.10; n_twelve = 12; n_1005 = 1.005; n_half = 0.5; n_thousand = 1000; n_huge = {HUGE}; n_nan = "NaN"; n_minusinf = "-Infinity"
t_day = "2020-01-01T00:00:00.000Z"; t_ms = "2020-01-01T00:00:00.123Z"; t_minus1 = "1969-12-31T23:59:59.999Z"
x_0 = "AAEC"; x_2 = "AAEC"; x_3 = "AAECAwQFBgcICQoLDA0ODw=="; x_4 = "00010203-0405-0607-0809-0a0b0c0d0e0f"; x_4short = "YWJjZA=="
x_5 = "AAECAwQFBgcICQoLDA0ODw=="; x_6 = "AQJzZWNyZXQ="; x_9 = "JwAAAIA/"; x_128 = "//4="
o_id = "65a1f0c2e4b0a1d2c3e4f501"; regex = "/^a/im"; code = "f()"; symbol = "sym"
a_oid = ["65a1f0c2e4b0a1d2c3e4f501"]; a_double = [1.5, {"$numberDouble": "-0.0"}, "NaN"]
e_nested = {"a": {"x": [1.10, "1970-01-01T00:00:00.000Z"]}, "b": 1}; e_ref = {"$id": "65a1f0c2e4b0a1d2c3e4f501", "$ref": "c"}
END
# in text, an exponent says as much as a point
$expected{json} = $expected{jsonb} . "d_big = {BIG}; d_2to63 = 9223372036854776000\n";

# Arrays of the element type, with nulls; one element of another type diverts them. Numbers among numbers are as in columns.
$expected{'text[]'} = <<'END';
a_text = {a,b}; a_textnull = {a,NULL}; a_oid = {65a1f0c2e4b0a1d2c3e4f501}; a_empty = {}
END
$expected{'bigint[]'} = <<'END';
a_int = {1,2}; a_long = {1,1099511627776}; a_intnull = {1,NULL}; a_intwhole = {1,2}; a_empty = {}
END
$expected{'double precision[]'} = <<'END';
a_double = {1.5,-0,NaN}; a_int = {1,2}; a_long = {1,1099511627776}; a_intnull = {1,NULL}; a_inthalf = {1,2.5}; a_intwhole = {1,2}
a_empty = {}
END

# Any type with an input function takes the strings that it can read.
$expected{order_status} = 's_abc = abc; s_label = sent';
$expected{inet} = 's_host = 10.0.0.1/32';
$expected{citext} = join "\n", grep { /^s_/ } split /\n|; /, $expected{text};

# Types for which only strings are decided; types that take what is not named, too.
my %only = (citext => qr/^(?:s_|null|undefined|e_|a_)/);
my %takes_all = (jsonb => 1, json => 1);

my $python = <<'PY';
import struct
from bson.raw_bson import RawBSONDocument
def i32(n): return 16, struct.pack('<i', n)
def i64(n): return 18, struct.pack('<q', n)
def dbl(x): return 1, struct.pack('<d', x)
def dec(text): return 19, bson.Decimal128(text).bid
def boolean(b): return 8, bytes([b])
def date(ms): return 9, struct.pack('<q', ms)
def s(data): return 2, struct.pack('<i', len(data) + 1) + data + b'\0'
def binary(subtype, data): return 5, struct.pack('<iB', len(data), subtype) + data
def oid(text): return 7, bytes.fromhex(text)
def document(fields):
    data = b''.join(bytes([kind]) + name.encode() + b'\0' + value for name, (kind, value) in fields)
    return struct.pack('<i', len(data) + 5) + data + b'\0'
def obj(*fields): return 3, document(fields)
def arr(*values): return 4, document((str(i), value) for i, value in enumerate(values))
def scoped(code, *fields):
    data = s(code)[1] + document(fields)
    return 15, struct.pack('<i', len(data) + 4) + data
def fill(values):
    client.shop['values'].insert_many(RawBSONDocument(document([('_id', i32(i)), ('v', v)])) for i, v in enumerate(values))
    print(client.shop['values'].count_documents({}))
PY

# ---------------------------------------------------------------------

sub in_full { my ($text) = @_; return $text =~ s/\{(HUGE|BIG|TINY)\}/$written{$1}/gr; }

sub parse_values
{
	my @found;
	foreach my $line (grep { !/^#/ } split /\n/, $_[0])
	{
		my ($name, $code, $relaxed) = $line =~ /^(\w+) \| (.*) \| (.*)$/ or die "no value: $line";
		push @found, {name => $name, code => $code, relaxed => in_full($relaxed)};
	}
	return @found;
}

# Text by name of the value.
sub parse_expected
{
	my ($text) = @_;
	my %known = map { $_->{name} => 1 } @values;
	my %found;
	foreach my $entry (split /\n|;\s+/, join "\n", grep { !/^#/ } split /\n/, $text)
	{
		my ($name, $value) = $entry =~ /^(\w+) = (.*)$/ or die "no expectation: $entry";
		die "no value \"$name\"" unless $known{$name};
		die "value \"$name\" twice" if exists $found{$name};
		$found{$name} = in_full($value =~ s/^'(.*)'$/$1/r);
	}
	return %found;
}

# Blanks outside of strings, where there is JSON.
sub squeezed
{
	my ($text) = @_;
	return 'NULL' unless defined $text;
	return $text unless $text =~ /^(?:\{"|\[)/;
	return join '', map { /^"/ ? $_ : s/\s+//gr } $text =~ /("(?:[^"\\]|\\.)*"|[^"]+)/g;
}

# "value, _extra", or the error.
sub wanted
{
	my ($value, $type, $expected) = @_;
	return "rejected: $1" if $value->{relaxed} =~ /^REJECT (\w+)/;
	return 'NULL, _extra NULL' if $value->{relaxed} eq 'NULL';
	my $text = $expected->{$value->{name}} // ($takes_all{$type} ? $value->{relaxed} : undef);
	return defined $text ? squeezed($text) . ', _extra NULL' : 'NULL, _extra ' . squeezed(qq({"v": $value->{relaxed}}));
}

sub short
{
	my ($text) = @_;
	$text = substr($text, 0, 400) . '...' if length $text > 400;
	utf8::encode($text);
	return $text;
}

sub contract
{
	my ($type, $table) = @_;
	return JSON::PP->new->canonical->encode({
			format => 1, source => {namespace => 'shop.values'}, target => {table => $table, primary_key => ['_id']},
			on_error => 'extra', extra => 'column', invalid_text => 'reject',
			fields => [
				{path => '_id', column => '_id', type => 'bigint', not_null => JSON::PP::true},
				{path => 'v', column => 'v', type => $type}]});
}

my ($mongo, $node);

# What became of each value, by its number.
sub load
{
	my ($type, $table) = @_;
	my $contract = contract($type, $table) =~ s/'/''/gr;
	my ($out, $err) = ('', '');
	$node->psql('postgres', sprintf(q(SELECT migrate_start('%s', 'values', target => '%s', mapping => '%s');
		SELECT migrate_wait(timeout => '120 s')), $mongo->uri('shop'), $table, $contract), stdout => \$out, stderr => \$err);
	like($out, qr/completed/, "$type: loads") or return diag($err);
	# json keeps the text as it was written; here its values count
	my $column = $type eq 'json' ? 'v::jsonb::text' : 'v::text';
	my $rows = $node->safe_psql('postgres', "SELECT coalesce(json_agg(json_build_array(_id, $column, _extra::text)), '[]') FROM $table");
	my %found = map { $_->[0] => squeezed($_->[1]) . ', _extra ' . squeezed($_->[2]) } @{JSON::PP->new->utf8->decode($rows)};
	my $errors = $node->safe_psql('postgres', "SELECT source_id::json ->> '\$numberInt', sqlstate FROM migrate_errors WHERE target = '$table'");
	foreach my $line (split /\n/, $errors)
	{
		my ($id, $sqlstate) = split /\|/, $line;
		$found{$id} = exists $found{$id} ? "a row and rejected: $sqlstate" : "rejected: $sqlstate";
	}
	return \%found;
}

sub check_type
{
	my ($type) = @_;
	my %stated = parse_expected($expected{$type});
	my $table = 't_' . $type =~ s/\W+/_/gr =~ s/_$//r . ($type =~ /\[/ ? '_array' : '');
	my $found = load($type, $table);
	return unless ref $found;
	for my $i (0 .. $#values)
	{
		my $value = $values[$i];
		next if $only{$type} && $value->{name} !~ $only{$type} && $value->{relaxed} !~ /^REJECT/;
		my ($is, $should) = ($found->{$i} // 'neither row nor rejected', wanted($value, $type, \%stated));
		ok($is eq $should, "$type: $value->{name}") or diag('is ' . short($is) . "\nshould be " . short($should));
	}
	is(scalar keys %$found, scalar @values, "$type: every document is accounted for");
	return;
}

# Checks the tables themselves; needs no servers.
parse_expected($_) foreach values %expected;

$mongo = MongoTest->new;
$node = MongoTest::node('types', timezone => "'UTC'");
is($mongo->python($python . 'fill([' . join(', ', map { $_->{code} } @values) . '])'), scalar @values, 'the values are there');
my $has_citext = $node->safe_psql('postgres', q(SELECT count(*) FROM pg_available_extensions WHERE name = 'citext'));
$node->safe_psql('postgres', 'CREATE EXTENSION citext') if $has_citext;
$node->safe_psql('postgres', q(CREATE TYPE order_status AS ENUM ('new', 'sent', 'abc');
	CREATE DOMAIN positive AS integer CHECK (VALUE > 0)));

check_type($_) foreach grep { $_ ne 'citext' || $has_citext } sort keys %expected;

# json keeps order and duplicates.
my $number = (grep { $values[$_]{name} eq 'e_twice' } 0 .. $#values)[0];
is(squeezed($node->safe_psql('postgres', "SELECT v FROM t_json WHERE _id = $number")), '{"a":1,"a":2}', 'json: duplicates are kept');
$number = (grep { $values[$_]{name} eq 'e_nested' } 0 .. $#values)[0];
is(squeezed($node->safe_psql('postgres', "SELECT v FROM t_json WHERE _id = $number")),
	'{"b":1,"a":{"x":[1.10,"1970-01-01T00:00:00.000Z"]}}', 'json: so is the order');

done_testing();
