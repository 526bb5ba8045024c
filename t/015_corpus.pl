# BSON byte by byte: valid documents with the Extended JSON that they must
# become, and corrupt ones with the sentence that says why.
#
# The first part calls the functions of t/module, named without its suffix in
# MM_TEST_MODULE; in the second one a mongod hands the documents over.
#
# Bytes are written as
#
#   00 ff     hex, two digits each
#   'abc'     bytes and a NUL: names, patterns
#   "abc"     a string: length word, bytes, NUL
#   { ... }   a document: length word, content, NUL
#   ( ... )   length word, its own four bytes counted, content
use strict;
use warnings;
use utf8;

use Encode qw(encode_utf8);
use JSON::PP;
use MongoTest;
use POSIX qw(strftime);
use PostgreSQL::Test::Utils;
use Test::More;

# name | type and payload | canonical form of the value
my @values = parse(3, <<'END');
double zero | 01 0000000000000000 | {"$numberDouble": "0.0"}
double minus zero | 01 0000000000000080 | {"$numberDouble": "-0.0"}
double one | 01 000000000000f03f | {"$numberDouble": "1.0"}
double minus one and a half | 01 000000000000f8bf | {"$numberDouble": "-1.5"}
double tenth | 01 9a9999999999b93f | {"$numberDouble": "0.1"}
double third | 01 555555555555d53f | {"$numberDouble": "0.3333333333333333"}
double price | 01 3d0ad7a370fd3340 | {"$numberDouble": "19.99"}
double 2^53 | 01 0000000000004043 | {"$numberDouble": "9.007199254740992e+15"}
double 10^22 | 01 92d54d06cff08044 | {"$numberDouble": "1e+22"}
double largest | 01 ffffffffffffef7f | {"$numberDouble": "1.7976931348623157e+308"}
double smallest normal | 01 0000000000001000 | {"$numberDouble": "2.2250738585072014e-308"}
double smallest | 01 0100000000000000 | {"$numberDouble": "5e-324"}
double infinity | 01 000000000000f07f | {"$numberDouble": "Infinity"}
double minus infinity | 01 000000000000f0ff | {"$numberDouble": "-Infinity"}
double NaN | 01 000000000000f87f | {"$numberDouble": "NaN"}
double NaN with sign and payload | 01 010000000000f8ff | {"$numberDouble": "NaN"}
double NaN that signals | 01 010000000000f07f | {"$numberDouble": "NaN"}
string empty | 02 "" | ""
string of one byte | 02 "x" | "x"
string of seven and of eight bytes | 02 "seven b eight by" | "seven b eight by"
string of two-byte characters | 02 "Übergröße" | "Übergröße"
string of three-byte characters | 02 "東京 €" | "東京 €"
string of four-byte characters | 02 "𝄞😀" | "𝄞😀"
string with the last code point | 02 05000000 f48fbfbf 00 | "\udbff\udfff"
string with a non-character | 02 04000000 efbfbf 00 | "\uffff"
string with a replacement character | 02 "�" | "\ufffd"
string with quotes and backslashes | 02 07000000 22 5c 2f 5c 6e 22 00 | "\"\\/\\n\""
string with control characters | 02 0b000000 01 08 09 0a 0b 0c 0d 1b 1f 7f 00 | "\u0001\b\t\n\u000b\f\r\u001b\u001f\u007f"
string with NUL inside | 02 04000000 61 00 62 00 | "a\u0000b"
string of NUL alone | 02 02000000 00 00 | "\u0000"
string with NUL and umlaut | 02 0a000000 00 c3a4 00 c3b6 c3bc 00 00 | "\u0000ä\u0000öü\u0000"
string that looks like JSON | 02 "{}, [null]" | "{}, [null]"
string that looks like a number | 02 "1e5" | "1e5"
object empty | 03 { } | {}
object nested | 03 { 03 'a' { 03 'b' { 0a 'c' } } } | {"a": {"b": {"c": null}}}
object in its own order | 03 { 10 'b' 01000000 10 'a' 02000000 10 'ab' 03000000 } | {"b": {"$numberInt": "1"}, "a": {"$numberInt": "2"}, "ab": {"$numberInt": "3"}}
object with an empty name | 03 { 08 '' 01 } | {"": true}
object with a DBRef | 03 { 02 '$ref' "c" 07 '$id' 000102030405060708090a0b } | {"$ref": "c", "$id": {"$oid": "000102030405060708090a0b"}}
array empty | 04 { } | []
array of many types | 04 { 10 '0' 01000000 02 '1' "a" 0a '2' 08 '3' 00 03 '4' { } 04 '5' { } } | [{"$numberInt": "1"}, "a", null, false, {}, []]
array in arrays | 04 { 04 '0' { 04 '0' { 12 '0' ffffffffffffffff } } } | [[[{"$numberLong": "-1"}]]]
array with other names | 04 { 08 '7' 01 08 '' 00 08 'x' 01 08 '7' 00 } | [true, false, true, false]
array of eleven | 04 { 0a '0' 0a '1' 0a '2' 0a '3' 0a '4' 0a '5' 0a '6' 0a '7' 0a '8' 0a '9' 0a '10' } | [null, null, null, null, null, null, null, null, null, null, null]
binary empty | 05 00000000 00 | {"$binary": {"base64": "", "subType": "00"}}
binary of one byte | 05 01000000 00 00 | {"$binary": {"base64": "AA==", "subType": "00"}}
binary of two bytes | 05 02000000 00 fbff | {"$binary": {"base64": "+/8=", "subType": "00"}}
binary of three bytes | 05 03000000 00 000102 | {"$binary": {"base64": "AAEC", "subType": "00"}}
binary function | 05 01000000 01 41 | {"$binary": {"base64": "QQ==", "subType": "01"}}
binary old | 05 07000000 02 03000000 000102 | {"$binary": {"base64": "AAEC", "subType": "02"}}
binary old empty | 05 04000000 02 00000000 | {"$binary": {"base64": "", "subType": "02"}}
binary old UUID | 05 10000000 03 000102030405060708090a0b0c0d0e0f | {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "03"}}
binary UUID | 05 10000000 04 000102030405060708090a0b0c0d0e0f | {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}}
binary UUID too short | 05 01000000 04 41 | {"$binary": {"base64": "QQ==", "subType": "04"}}
binary MD5 | 05 02000000 05 4142 | {"$binary": {"base64": "QUI=", "subType": "05"}}
binary encrypted | 05 02000000 06 4142 | {"$binary": {"base64": "QUI=", "subType": "06"}}
binary time series column | 05 02000000 07 4142 | {"$binary": {"base64": "QUI=", "subType": "07"}}
binary sensitive | 05 02000000 08 4142 | {"$binary": {"base64": "QUI=", "subType": "08"}}
binary vector | 05 06000000 09 27 00 0000803f | {"$binary": {"base64": "JwAAAIA/", "subType": "09"}}
binary of the user | 05 01000000 80 00 | {"$binary": {"base64": "AA==", "subType": "80"}}
binary last subtype | 05 01000000 ff ff | {"$binary": {"base64": "/w==", "subType": "ff"}}
undefined | 06 | {"$undefined": true}
ObjectId of zeroes | 07 000000000000000000000000 | {"$oid": "000000000000000000000000"}
ObjectId | 07 65a1f0c2e4b0a1d2c3e4f501 | {"$oid": "65a1f0c2e4b0a1d2c3e4f501"}
false | 08 00 | false
true | 08 01 | true
date 1970 | 09 0000000000000000 | {"$date": {"$numberLong": "0"}}
date with milliseconds | 09 7bfc665e6f010000 | {"$date": {"$numberLong": "1577836805243"}}
date one millisecond | 09 0100000000000000 | {"$date": {"$numberLong": "1"}}
date before 1970 | 09 ffffffffffffffff | {"$date": {"$numberLong": "-1"}}
date year 1 | 09 0028d3ed7cc7ffff | {"$date": {"$numberLong": "-62135596800000"}}
date end of 9999 | 09 ffdb1fd277e60000 | {"$date": {"$numberLong": "253402300799999"}}
date year 10000 | 09 00dc1fd277e60000 | {"$date": {"$numberLong": "253402300800000"}}
date first | 09 0000000000000080 | {"$date": {"$numberLong": "-9223372036854775808"}}
date last | 09 ffffffffffffff7f | {"$date": {"$numberLong": "9223372036854775807"}}
null | 0a | null
regex | 0b '^a.*b$' 'im' | {"$regularExpression": {"pattern": "^a.*b$", "options": "im"}}
regex empty | 0b '' '' | {"$regularExpression": {"pattern": "", "options": ""}}
regex with quote, slash, backslash | 0b 22 2f 5c 64 00 '' | {"$regularExpression": {"pattern": "\"/\\d", "options": ""}}
regex beyond ASCII | 0b 'größe' 'u' | {"$regularExpression": {"pattern": "größe", "options": "u"}}
# As it was written: sorting them would be a change.
regex options in another order | 0b 'a' 'xmi' | {"$regularExpression": {"pattern": "a", "options": "xmi"}}
DBPointer | 0c "shop.old" 0102030405060708090a0b0c | {"$dbPointer": {"$ref": "shop.old", "$id": {"$oid": "0102030405060708090a0b0c"}}}
DBPointer to nowhere | 0c "" 000000000000000000000000 | {"$dbPointer": {"$ref": "", "$id": {"$oid": "000000000000000000000000"}}}
code | 0d "function () { return 1 }" | {"$code": "function () { return 1 }"}
code empty | 0d "" | {"$code": ""}
code with NUL inside | 0d 04000000 61 00 62 00 | {"$code": "a\u0000b"}
symbol | 0e "größe" | {"$symbol": "größe"}
symbol with NUL inside | 0e 03000000 00 61 00 | {"$symbol": "\u0000a"}
code with empty scope | 0f ( "f()" { } ) | {"$code": "f()", "$scope": {}}
code with scope | 0f ( "x + y" { 10 'x' 01000000 03 'y' { 09 'z' 0000000000000000 } } ) | {"$code": "x + y", "$scope": {"x": {"$numberInt": "1"}, "y": {"z": {"$date": {"$numberLong": "0"}}}}}
code with code in its scope | 0f ( "" { 0f 'f' ( "g()" { 0a 'n' } ) } ) | {"$code": "", "$scope": {"f": {"$code": "g()", "$scope": {"n": null}}}}
int zero | 10 00000000 | {"$numberInt": "0"}
int | 10 39300000 | {"$numberInt": "12345"}
int minus one | 10 ffffffff | {"$numberInt": "-1"}
int first | 10 00000080 | {"$numberInt": "-2147483648"}
int last | 10 ffffff7f | {"$numberInt": "2147483647"}
timestamp | 11 09000000 07000000 | {"$timestamp": {"t": 7, "i": 9}}
timestamp last | 11 ffffffff ffffffff | {"$timestamp": {"t": 4294967295, "i": 4294967295}}
long one | 12 0100000000000000 | {"$numberLong": "1"}
long beyond int | 12 0000008000000000 | {"$numberLong": "2147483648"}
long beyond double | 12 0100000000002000 | {"$numberLong": "9007199254740993"}
long first | 12 0000000000000080 | {"$numberLong": "-9223372036854775808"}
long last | 12 ffffffffffffff7f | {"$numberLong": "9223372036854775807"}
decimal zero | 13 0000000000000000 0000000000004030 | {"$numberDecimal": "0"}
decimal minus zero | 13 0000000000000000 00000000000040b0 | {"$numberDecimal": "-0"}
decimal zero with three digits | 13 0000000000000000 0000000000003a30 | {"$numberDecimal": "0.000"}
decimal zero with an exponent | 13 0000000000000000 000000000000fe5f | {"$numberDecimal": "0E+6111"}
decimal one | 13 0100000000000000 0000000000004030 | {"$numberDecimal": "1"}
decimal with a zero at the end | 13 6e00000000000000 0000000000003c30 | {"$numberDecimal": "1.10"}
decimal negative | 13 7b00000000000000 0000000000003ab0 | {"$numberDecimal": "-0.123"}
decimal thousand | 13 0100000000000000 0000000000004630 | {"$numberDecimal": "1E+3"}
decimal small | 13 0100000000000000 0000000000003230 | {"$numberDecimal": "1E-7"}
decimal just not small | 13 0100000000000000 0000000000003430 | {"$numberDecimal": "0.000001"}
decimal of 20 digits | 13 ffffffffffffffff 0000000000004030 | {"$numberDecimal": "18446744073709551615"}
decimal of 34 digits | 13 f2af967ed05c82de 3297ff6fde3c4030 | {"$numberDecimal": "1234567890123456789012345678901234"}
decimal largest | 13 ffffffff638e8d37 c087adbe09edff5f | {"$numberDecimal": "9.999999999999999999999999999999999E+6144"}
decimal smallest | 13 0100000000000000 0000000000000000 | {"$numberDecimal": "1E-6176"}
decimal infinity | 13 0000000000000000 0000000000000078 | {"$numberDecimal": "Infinity"}
decimal minus infinity | 13 0000000000000000 00000000000000f8 | {"$numberDecimal": "-Infinity"}
decimal NaN | 13 0000000000000000 000000000000007c | {"$numberDecimal": "NaN"}
decimal NaN with sign and payload | 13 0700000000000000 00000000000000fc | {"$numberDecimal": "NaN"}
# IEEE 754-2008, 3.5.2: a coefficient of more than 34 digits is zero.
decimal of too many digits | 13 00000000648e8d37 c087adbe09ed4130 | {"$numberDecimal": "0"}
decimal of too many digits, negative | 13 ffffffffffffffff ffffffffffffffdf | {"$numberDecimal": "-0E+6111"}
decimal of too many digits in its upper half | 13 0000000000000000 c187adbe09ed4130 | {"$numberDecimal": "0"}
decimal with the other coefficient and an exponent | 13 ffffffffffffffff ffffffffffff1f6c | {"$numberDecimal": "0E+31"}
decimal with the other coefficient | 13 0000000000000000 000000000000106c | {"$numberDecimal": "0"}
minKey | ff | {"$minKey": 1}
maxKey | 7f | {"$maxKey": 1}
END

# name | elements | canonical form of the document | relaxed form, where it does not follow from that
my @documents = parse(4, <<'END');
nothing | | {}
name empty | 0a '' | {"": null}
name with a dot | 0a 'a.b' | {"a.b": null}
name with a dollar in front | 0a '$a' | {"$a": null}
name with quote and backslash | 0a 61 22 5c 62 00 | {"a\"\\b": null}
name of control characters | 0a 01 0a 1f 00 | {"\u0001\n\u001f": null}
name beyond ASCII | 0a '鍵😀' | {"鍵😀": null}
names in their own order | 08 'z' 01 08 'a' 00 0a 'zz' 0a 'b' | {"z": true, "a": false, "zz": null, "b": null}
names of all lengths to nine | 0a 'a' 0a 'ab' 0a 'abc' 0a 'abcd' 0a 'abcde' 0a 'abcdef' 0a 'abcdefg' 0a 'abcdefgh' 0a 'abcdefghi' | {"a": null, "ab": null, "abc": null, "abcd": null, "abcde": null, "abcdef": null, "abcdefg": null, "abcdefgh": null, "abcdefghi": null}
name twice | 10 'a' 01000000 10 'b' 02000000 02 'a' "x" | {"a": {"$numberInt": "1"}, "b": {"$numberInt": "2"}, "a": "x"}
name twice inside | 03 'v' { 08 'a' 01 08 'a' 00 } | {"v": {"a": true, "a": false}}
document like a number | 03 'v' { 02 '$numberLong' "5" } | {"v": {"$numberLong": "5"}} | {"v": {"$numberLong": "5"}}
document like a date | 03 'v' { 12 '$date' 0500000000000000 } | {"v": {"$date": {"$numberLong": "5"}}} | {"v": {"$date": 5}}
all types | 01 'a' 000000000000e03f 02 'b' "s" 03 'c' { } 04 'd' { } 05 'e' 00000000 00 06 'f' 07 'g' 65a1f0c2e4b0a1d2c3e4f501 08 'h' 01 09 'i' e803000000000000 0a 'j' 0b 'k' 'p' 'i' 0c 'l' "n" 65a1f0c2e4b0a1d2c3e4f501 0d 'm' "c" 0e 'n' "y" 0f 'o' ( "c" { } ) 10 'p' 01000000 11 'q' 01000000 02000000 12 'r' 0100000000000000 13 's' 0100000000000000 0000000000004030 ff 't' 7f 'u' | {"a": {"$numberDouble": "0.5"}, "b": "s", "c": {}, "d": [], "e": {"$binary": {"base64": "", "subType": "00"}}, "f": {"$undefined": true}, "g": {"$oid": "65a1f0c2e4b0a1d2c3e4f501"}, "h": true, "i": {"$date": {"$numberLong": "1000"}}, "j": null, "k": {"$regularExpression": {"pattern": "p", "options": "i"}}, "l": {"$dbPointer": {"$ref": "n", "$id": {"$oid": "65a1f0c2e4b0a1d2c3e4f501"}}}, "m": {"$code": "c"}, "n": {"$symbol": "y"}, "o": {"$code": "c", "$scope": {}}, "p": {"$numberInt": "1"}, "q": {"$timestamp": {"t": 2, "i": 1}}, "r": {"$numberLong": "1"}, "s": {"$numberDecimal": "1"}, "t": {"$minKey": 1}, "u": {"$maxKey": 1}}
END

my %sentence = (
	value => 'A value reaches beyond its document.',
	string => 'The length of a string is wrong.',
	string_end => 'A string does not end in NUL.',
	binary => 'The length of a binary is wrong.',
	document => 'The length of a document is wrong.',
	document_end => 'A document does not end in NUL.',
	early => 'A document ends before its length.',
	bool => 'A boolean is neither false nor true.',
	regex => 'A regular expression does not end.',
	scope => 'The length of a code with scope is wrong.',
	name => 'The name of an element does not end.',
	type => 'The type of an element is unknown.',
	depth => 'Documents are nested more than 200 levels deep.',
	elements => 'There are more than 3000000 elements.',
	large => 'The document is larger than 16 MB.');

# name | type and payload of the last element of a document | key of %sentence
my @corrupt_values = parse(3, <<'END');
double without a byte | 01 | value
double of seven bytes | 01 00000000000000 | value
string without a length | 02 | value
string with half a length | 02 0100 | value
string without content | 02 01000000 | value
string of length 0 | 02 00000000 00 | string
string of length -1 | 02 ffffffff 61 00 | string
string of the least length | 02 00000080 61 00 | string
string one byte too long | 02 03000000 61 00 | string
string that is longer than any document | 02 ffffff7f 61 00 | string
string without NUL | 02 02000000 61 62 | string_end
string one byte too short | 02 02000000 61 62 00 | string_end
string too short, NUL inside | 02 02000000 61 00 62 00 | type
string too short by its NUL | 02 01000000 00 00 | early
object without content | 03 | value
object of four bytes | 03 04000000 | value
object of length 0 | 03 00000000 00 | document
object of length 4 | 03 04000000 00 | document
object of length -5 | 03 fbffffff 00 | document
object one byte too long | 03 06000000 00 | document
object one byte too long for its own | 03 06000000 00 00 | early
object without NUL | 03 05000000 01 | document_end
object that ends in its element | 03 09000000 10 'a' 01 00 | value
object that ends in a name | 03 07000000 10 61 00 | name
object that ends in a type | 03 06000000 10 00 | name
object with a string of the outer one | 03 0d000000 02 'a' 04000000 61 00 02 00 'b' | string
array without content | 04 | value
array of length 3 | 04 03000000 00 | document
array of length -1 | 04 ffffffff 00 | document
array one byte too long | 04 06000000 00 | document
array without NUL | 04 05000000 ff | document_end
array with a corrupt element | 04 { 08 '0' 02 } | bool
array in an array, corrupt | 04 { 04 '0' { 04 '0' 05000000 01 } } | document_end
binary without content | 05 | value
binary without a subtype | 05 00000000 | value
binary of length -1 | 05 ffffffff 00 | binary
binary one byte too long | 05 02000000 00 00 | binary
binary one byte too short | 05 01000000 00 41 00 | early
binary old without its length | 05 00000000 02 | binary
binary old with half a length | 05 02000000 02 0000 | binary
binary old, one byte too long | 05 05000000 02 02000000 41 | binary
binary old, one byte too short | 05 06000000 02 01000000 4142 | binary
binary old of length -1 | 05 05000000 02 ffffffff 41 | binary
ObjectId without a byte | 07 | value
ObjectId of eleven bytes | 07 0001020304050607080910 | value
bool without a byte | 08 | value
bool of 2 | 08 02 | bool
bool of 255 | 08 ff | bool
date without a byte | 09 | value
date of seven bytes | 09 00000000000000 | value
null with a byte | 0a 00 | early
undefined with a byte | 06 00 | early
regex without content | 0b | regex
regex without the end of its pattern | 0b 61 62 | regex
regex without options | 0b 'ab' | regex
regex without the end of its options | 0b 'ab' 69 | regex
regex with NUL in its pattern | 0b 'a' 'b' 69 00 | type
DBPointer without content | 0c | value
DBPointer without an id | 0c "a.b" | value
DBPointer with an id of eleven bytes | 0c "a.b" 0001020304050607080910 | value
DBPointer of length 0 | 0c 00000000 000102030405060708090a0b | string
DBPointer of length -1 | 0c ffffffff 000102030405060708090a0b | string
DBPointer without NUL | 0c 02000000 61 62 000102030405060708090a0b | string_end
code without content | 0d | value
code of length 0 | 0d 00000000 00 | string
code one byte too long | 0d 03000000 61 00 | string
code without NUL | 0d 02000000 61 62 | string_end
symbol without content | 0e | value
symbol of length -2 | 0e feffffff 00 | string
symbol without NUL | 0e 01000000 61 | string_end
code with scope, without content | 0f | value
code with scope, without a code | 0f 04000000 | value
code with scope, code of length 0 | 0f 0d000000 00000000 { } | string
code with scope, code too long | 0f ( 20000000 'a' { } ) | string
code with scope, code without NUL | 0f ( 02000000 61 62 { } ) | string_end
code with scope, without a scope | 0f ( "a" ) | value
code with scope, scope too long | 0f ( "a" 06000000 00 ) | document
code with scope, scope of length -1 | 0f ( "a" ffffffff 00 ) | document
code with scope, scope without NUL | 0f ( "a" 05000000 01 ) | document_end
code with scope, scope with a corrupt element | 0f ( "a" { 08 'b' 03 } ) | bool
code with scope, of length 0 | 0f 00000000 "a" { } | scope
code with scope, of length -1 | 0f ffffffff "a" { } | scope
code with scope, one byte too short | 0f 0e000000 "a" { } | scope
code with scope, one byte too long | 0f 10000000 "a" { } | scope
int without a byte | 10 | value
int of three bytes | 10 000000 | value
int of five bytes | 10 0000000000 | early
timestamp without a byte | 11 | value
timestamp of seven bytes | 11 00000000000000 | value
long without a byte | 12 | value
long of seven bytes | 12 00000000000000 | value
decimal without a byte | 13 | value
decimal of fifteen bytes | 13 000000000000000000000000000000 | value
minKey with a byte | ff 00 | early
maxKey with a byte | 7f 00 | early
type 0 with a name | 00 | early
type 20 | 14 | type
type 126 | 7e | type
type 128 | 80 0000000000000000 | type
type 254 | fe | type
END

# name | bytes of the whole document | key of %sentence
my @corrupt_documents = parse(3, <<'END');
no byte | | document
one byte | 05 | document
length without more | 05000000 | document
length of nothing | 04000000 00 | document
length 0 | 00000000 00 | document
length -1 | ffffffff 00 | document
length one too long | 06000000 00 | document
length one too short | 05000000 00 00 | document
length in the other byte order | 00000005 00 | document
other bytes behind | 05000000 00 deadbeef | document
end is not NUL | 05000000 01 | document_end
end is a type | 05000000 ff | document_end
ends in a type | 06000000 0a 00 | name
ends in a name | 08000000 0a 61 62 00 | name
ends in a name after an element | 0c000000 08 'a' 01 08 62 63 00 | name
end in the middle | 0a000000 00 0a 'a' 00 00 | early
end behind an element | 09000000 0a 'a' 00 00 | early
corruption behind _id | { 07 '_id' 65a1f0c2e4b0a1d2c3e4f501 08 'b' 07 } | bool
corruption in _id | { 08 '_id' 07 } | bool
corruption before a name that is there twice | { 10 'v' 01000000 08 'b' 07 10 'v' 01000000 } | bool
corruption in a value that a later one replaces | { 03 'v' { 08 'b' 07 } 10 'v' 01000000 } | bool
corruption in an object that a later one replaces | { 03 'o' { 08 'a' 07 } 03 'o' { 08 'a' 01 } } | bool
END

# name | bytes that are no text | what a path shows instead of them
my @no_text = parse(3, <<'END');
a byte that is none | ff | �
a character that does not end | e282 | ��
the inside of a character | 80 | �
ASCII in two bytes | c1bf | ��
NUL in two bytes | c080 | ��
a slash in three bytes | e080af | ���
half of a surrogate pair | eda080 | ���
beyond the last code point | f4908080 | ����
a character of five bytes | f888808080 | �����
after seven letters | 61626364656667ff | abcdefg�
after eight letters and before one | 6162636465666768ff69 | abcdefgh�i
END

# Elements around such a text, as TEXT for its bytes and STRING for these as a string | its path, with CLEAN for what is shown
my @text_places = parse_places(<<'END');
02 'v' STRING | v
0d 'v' STRING | v
0e 'v' STRING | v
0b 'v' TEXT 00 '' | v
0b 'v' 'a' TEXT 00 | v
0c 'v' STRING 000102030405060708090a0b | v
0f 'v' ( STRING { } ) | v
0f 'v' ( "a" { 02 'b' STRING } ) | v.b
0f 'v' ( "a" { 0a TEXT 00 } ) | v.CLEAN
03 'v' { 0a TEXT 00 } | v.CLEAN
03 'v' { 03 'a.b' { 02 '' STRING } } | v."a.b".""
04 'v' { 02 '0' STRING } | v[]
04 'v' { 03 '0' { 04 'a' { 0a '0' 0d '1' STRING } } } | v[].a[]
0a TEXT 00 | CLEAN
02 'w' STRING | w
03 'w' { 03 'a' { 0a TEXT 00 } } | w.a.CLEAN
03 'o' { 02 'a' STRING } | o.a
03 'o' { 02 'd' STRING } | o.d
03 'o' { 0a TEXT 00 } | o.CLEAN
03 'o' { 03 'b' { 02 'c' STRING 0a 'd' } } | o.b.c
END

# ---------------------------------------------------------------------

sub parse
{
	my ($columns, $table) = @_;
	my @found;
	foreach my $line (grep { !/^#/ } split /\n/, $table)
	{
		my ($name, $bytes, $expected, $relaxed) = split /\s*\|\s*/, $line, $columns;
		die "no case: $line" unless defined $expected;
		push @found, {name => $name, bytes => $bytes, expected => $expected, relaxed => $relaxed};
	}
	return @found;
}

sub parse_places { return map { my ($elements, $path) = /^(.*) \| (.*)$/ or die "no place: $_"; [$elements, $path] } split /\n/, $_[0]; }

sub string { my ($bytes) = @_; return pack('V', length($bytes) + 1) . "$bytes\0"; }

# The bytes that the notation stands for.
sub bson
{
	my ($notation) = @_;
	my @open = ('');
	while ($notation =~ /\G\s*(?:([0-9a-f]{2})|'([^']*)'|"([^"]*)"|([{(])|([})]))/gc)
	{
		if (defined $1) { $open[-1] .= pack 'H2', $1; }
		elsif (defined $2) { $open[-1] .= encode_utf8($2) . "\0"; }
		elsif (defined $3) { $open[-1] .= string(encode_utf8($3)); }
		elsif (defined $4) { push @open, ''; }
		else
		{
			my $content = pop(@open) . ($5 eq '}' ? "\0" : '');
			$open[-1] .= pack('V', length($content) + 4) . $content;
		}
	}
	die "no bytes: $notation" unless @open == 1 && ($notation =~ /\G\s*$/);
	return $open[0];
}

# An element of this name: the notation has the type first.
sub element { my ($name, $bytes) = @_; return substr($bytes, 0, 2) . " '$name'" . substr($bytes, 2); }

sub hex_of { my ($bson) = @_; return unpack 'H*', $bson; }

# Without blanks outside of strings, and each character of a string in one way.
my $json = JSON::PP->new->allow_nonref;

sub pieces { my ($text) = @_; return $text =~ /("(?:[^"\\]|\\.)*"|[^"]+)/gs; }

sub normal { my ($text) = @_; return join '', map { /^"/ ? $json->encode($json->decode($_)) : s/\s+//gr } pieces($text); }

# Relaxed from canonical, as the Extended JSON specification has it; minus zero as we have it.
sub relaxed
{
	my ($canonical) = @_;
	my $text = normal($canonical);
	$text =~ s/\{"\$date":\{"\$numberLong":"(-?\d+)"\}\}/{"\$date":@{[date($1)]}}/g;
	$text =~ s/(?<!"\$date":)\{"\$number(?:Int|Long)":"(-?\d+)"\}/$1/g;
	$text =~ s/\{"\$numberDouble":"(?!-0\.0")(-?\d[^"]*)"\}/$1/g;
	return $text;
}

sub date
{
	my ($ms) = @_;
	return qq({"\$numberLong":"$ms"}) if $ms < 0 || $ms > 253402300799999;
	return strftime('"%Y-%m-%dT%H:%M:%S', gmtime int($ms / 1000)) . ($ms % 1000 ? sprintf '.%03dZ"', $ms % 1000 : 'Z"');
}

# Documents of so many levels, the document itself is the first.
sub nested
{
	my ($levels) = @_;
	my $n = $levels - 1;
	return {name => "$levels levels", bytes => "03 'a' { " x $n . '} ' x $n, expected => '{"a": ' x $n . '{}' . '}' x $n},
	  {name => "$levels levels of arrays", bytes => "04 '0' { " x $n . '} ' x $n, expected => '{"0": ' . '[' x $n . ']' x $n . '}'};
}

my $node = MongoTest::node('corpus');

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

# JSON values; in hex, as psql leaves out code points that are no characters.
sub rows
{
	my ($sql) = @_;
	return map { JSON::PP->new->utf8->decode(pack 'H*', $_) }
	  split /\n/, sql(encode_utf8("SELECT encode(convert_to(json::text, 'UTF8'), 'hex') FROM ($sql) AS r (json)"));
}

sub quoted { my ($text) = @_; return "'" . ($text =~ s/'/''/gr) . "'"; }

# jsonb cannot hold what has a NUL.
sub as_jsonb { my ($text) = @_; return $text =~ /\\u0000/ ? 'NULL::jsonb' : quoted($text) . '::jsonb'; }

# ---------------------------------------------------------------------
# The module
# ---------------------------------------------------------------------

my $module = $ENV{MM_TEST_MODULE} or die 'MM_TEST_MODULE is not set: run make check';
sql(slurp_file("$ENV{MM_ROOT}/t/module/mm_test.sql") =~ s/:'module'/'$module'/gr);

# In a column, in an array, and twice there: a value ends where it should.
my @valid = map { {name => $_->{name}, bytes => element('v', $_->{bytes}) . " 04 'a' { " . element('0', $_->{bytes}) . element('1', $_->{bytes}) . ' }',
			expected => "{\"v\": $_->{expected}, \"a\": [$_->{expected}, $_->{expected}]}"} } @values;
push @valid, @documents, nested(180), {name => 'a long string', bytes => '02 \'v\' "' . 'äb€' x 2000 . '"', expected => '{"v": "' . 'äb€' x 2000 . '"}'};
# MongoDB stores those above: 180 levels are its limit.
my $storable = scalar @valid;
push @valid, nested(200);
$_->{relaxed} //= relaxed($_->{expected}) foreach @valid;

# Dead letters: for a text, with its path.
sub nul_at { my ($path) = @_; return "convert|22P05|invalid byte 0x00 in string|PostgreSQL text cannot hold NUL characters.|$path"; }

sub invalid_at { my ($path) = @_; return "convert|22021|invalid byte sequence in UTF-8 string|PostgreSQL text must be valid UTF-8.|$path"; }

my @found = rows('SELECT json_build_object(' . join(', ', map { quoted($_) . ", $_" } qw(valid reject canonical relaxed canonical_jsonb relaxed_jsonb))
	. ') FROM (VALUES ' . join(', ', map { my $case = $valid[$_];
			"($_, '\\x" . hex_of(bson("{ $case->{bytes} }")) . "'::bytea, " . as_jsonb($case->{expected}) . ', ' . as_jsonb($case->{relaxed}) . ')' } 0 .. $#valid)
	. q[) AS v (i, bson, c, r), mmtest_valid(bson) AS valid, mmtest_reject(bson) AS reject, mmtest_json(bson, 'canonical') AS canonical,
		mmtest_json(bson, 'relaxed') AS relaxed,
		LATERAL (SELECT coalesce((result = c)::text, fault) AS canonical_jsonb FROM mmtest_jsonb_report(bson, 'canonical', 'reject')) AS j,
		LATERAL (SELECT coalesce((result = r)::text, fault) AS relaxed_jsonb FROM mmtest_jsonb_report(bson, 'relaxed', 'reject')) AS k ORDER BY i]);

is(scalar @found, scalar @valid, 'every valid document has a result');
for my $i (0 .. $#valid)
{
	my ($case, $is) = ($valid[$i], $found[$i]);
	my $has_nul = $case->{expected} =~ /\\u0000/;
	my $in_jsonb = $has_nul ? 'nul' : 'true';
	$is->{$_} = normal($is->{$_}) foreach qw(canonical relaxed);
	is_deeply($is, {valid => undef, reject => $has_nul ? nul_at('v') : undef, canonical => normal($case->{expected}), relaxed => normal($case->{relaxed}),
			canonical_jsonb => $in_jsonb, relaxed_jsonb => $in_jsonb}, "valid: $case->{name}");
}

# What is wrong, and the dead letters of both layouts, for documents as SQL has them.
sub refused
{
	my @documents = @_;
	return map { join ' / ', map { $_ // 'none' } @$_ } rows('SELECT json_build_array(mmtest_valid(bson), mmtest_reject(bson)) FROM (VALUES '
		. join(', ', map { "($_, $documents[$_])" } 0 .. $#documents) . ') AS v (i, bson) ORDER BY i');
}

sub literal { my ($bson) = @_; return "'\\x" . hex_of($bson) . "'::bytea"; }

sub corrupt { my ($key) = @_; my $fault = $sentence{$key} or die "no sentence \"$key\""; return "$fault / parse|22P03|invalid BSON document|$fault|"; }

# Under a name with a column and one without, in columns of embedded documents, in a value, an array and a scope, and in
# what the same name replaces.
sub placed
{
	my ($bytes) = @_;
	return map { literal(bson("{ 10 '_id' 01000000 $_ }")) }
	  element('v', $bytes), element('w', $bytes), "03 'o' { " . element('a', $bytes) . ' } ', "03 'o' { 03 'b' { " . element('c', $bytes) . ' } } ',
	  "03 'o' { " . element('d', $bytes) . ' } ', "03 'v' { " . element('e', $bytes) . ' } ', "04 'v' { " . element('0', $bytes) . ' } ',
	  "0f 'v' ( \"f()\" { " . element('x', $bytes) . ' } ) ', "03 'v' { 0f 'x' ( \"f()\" { " . element('y', $bytes) . ' } ) } ',
	  "03 'v' { 03 'x' { " . element('y', $bytes) . " } 03 'x' { } } ", "04 'v' { 03 '0' { 04 'x' { " . element('0', $bytes) . " } 0a 'x' } } ";
}

my @found_corrupt = refused(map { placed($_->{bytes}) } @corrupt_values);
my $places = @found_corrupt / @corrupt_values;
is_deeply([splice @found_corrupt, 0, $places], [(corrupt($_->{expected})) x $places], "corrupt: $_->{name}") foreach @corrupt_values;

@found_corrupt = refused(map { literal(bson($_->{bytes})) } @corrupt_documents);
is($found_corrupt[$_], corrupt($corrupt_documents[$_]{expected}), "corrupt: $corrupt_documents[$_]{name}") foreach 0 .. $#corrupt_documents;

# Cut at each byte: with the old length never a document, with the right one between elements only.
my ($all) = grep { $_->{name} eq 'all types' } @documents;
my ($whole, $end, %between) = (bson("{ $all->{bytes} }"), 4, 4 => 1);
$between{$end += length bson($_)} = 1 foreach split /(?=\b[0-9a-f]{2} '[a-u]')/, $all->{bytes};
my @lengths = (4 .. length($whole) - 2);
is(scalar(grep { $_ eq corrupt('document') } refused(map { literal(substr $whole, 0, $_) } @lengths)), scalar @lengths, 'corrupt: cut anywhere');
@found_corrupt = refused(map { literal(pack('V', $_ + 1) . substr($whole, 4, $_ - 4) . "\0") } @lengths);
is(join(' ', map { $lengths[$_] } grep { $found_corrupt[$_] eq 'none / none' } 0 .. $#lengths), join(' ', grep { $between{$_} } @lengths),
	'corrupt: cut and ended anywhere but between elements');

# The limits; documents this large are made by the server.
sub filled
{
	my ($head, $unit, $times, $tail) = @_;
	my $len = 4 + length($head) + length($unit) * $times + length($tail);
	return literal(pack('V', $len) . $head) . " || decode(repeat('" . hex_of($unit) . "', $times), 'hex') || " . literal($tail);
}

sub of_size { my ($len) = @_; return filled("\x02s\0" . pack('V', $len - 12), 'a', $len - 13, "\0\0"); }

sub of_elements { my ($number) = @_; return filled('', "\x0a\0", $number, "\0"); }

# The same in the column of v, where all but the last empty name are replaced; and in what a name replaces there.
sub of_elements_inside { my ($number) = @_; $number--; return filled("\x03v\0" . pack('V', 2 * $number + 5), "\x0a\0", $number, "\0\0"); }

sub of_elements_replaced
{
	my ($number) = @_;
	$number -= 3;
	return filled("\x03v\0" . pack('V', 2 * $number + 16) . "\x03x\0" . pack('V', 2 * $number + 5), "\x0a\0", $number, "\0\x0ax\0\0\0");
}

# The last one is like one of the document before.
sub of_elements_again { my ($number) = @_; return filled('', "\x0a\0", $number - 1, bson("02 's' \"x\"") . "\0"); }

# So many levels: in the column of v, in one of embedded documents, in what a name replaces, and in a scope.
sub levels { my ($outside, $levels) = @_; return "03 'x' { " x ($levels - $outside) . '} ' x ($levels - $outside); }

sub of_levels_inside
{
	my ($levels) = @_;
	return map { literal(bson("{ $_ }")) } "03 'v' { " . levels(2, $levels) . '}', "03 'o' { 03 'b' { 03 'c' { " . levels(4, $levels) . '} } }',
	  "03 'v' { " . levels(2, $levels) . "0a 'x' }", "03 'v' { 0f 'y' ( \"f()\" { " . levels(3, $levels) . '} ) }';
}

is_deeply([refused(literal(bson('{ ' . "03 'a' { " x 200 . '} ' x 200 . '}')), of_size(16793600), of_size(16793601), of_elements(3000000), of_elements(3000001))],
	[corrupt('depth'), 'none / none', corrupt('large'), 'none / none', corrupt('elements')], 'corrupt: beyond the limits');
is_deeply([refused(map { $_->(3000000), $_->(3000001) } \&of_elements_inside, \&of_elements_replaced)], [('none / none', corrupt('elements')) x 2],
	'corrupt: too many elements inside of a value');
is_deeply([map { sql("SELECT coalesce(mmtest_reject_after(@{[literal(bson('{ 02 \'s\' \"x\" }'))]}, @{[of_elements_again($_)]}), 'none')") } 3000000, 3000001],
	['none', corrupt('elements') =~ s{^[^/]* / }{}r], 'corrupt: too many elements, the last of which is like the one before');
is_deeply([refused(map { of_levels_inside($_) } 200, 201)], [('none / none') x 4, (corrupt('depth')) x 4], 'corrupt: too many levels inside of a value');

# Text is valid BSON whatever it is; the dead letter says what is wrong with it.
sub text_in
{
	my ($place, $hex) = @_;
	my $string = hex_of(string(pack 'H*', $hex));
	return literal(bson('{ ' . ($place->[0] =~ s/STRING/$string/r =~ s/TEXT/$hex/r) . ' }'));
}

foreach my $case (@no_text)
{
	is_deeply([refused(map { text_in($_, $case->{bytes}) } @text_places)],
		[map { 'none / ' . invalid_at($_->[1] =~ s/CLEAN/$case->{expected}/r) } @text_places], "no text: $case->{name}");
}
my @string_places = grep { $_->[0] =~ /STRING/ } @text_places;
foreach my $hex ('00', '610062', '61626364656667680000')
{
	is_deeply([refused(map { text_in($_, $hex) } @string_places)], [map { 'none / ' . nul_at($_->[1]) } @string_places], "no text: NUL in $hex");
}

# ---------------------------------------------------------------------
# From a mongod
# ---------------------------------------------------------------------

my $mongo = MongoTest->new;
my $uri = $mongo->uri('shop');

# A word for each document: same, as it came back; changed; refused.
sub insert
{
	my ($collection, @documents) = @_;
	return split / /, $mongo->python(<<"PY");
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
collection = client.shop.get_collection('$collection', codec_options=CodecOptions(document_class=RawBSONDocument))
def insert(number, raw):
    try:
        collection.insert_one(RawBSONDocument(raw))
    except pymongo.errors.WriteError:
        return 'refused'
    except pymongo.errors.OperationFailure:
        return 'refused'
    return 'same' if collection.find_one({'_id': number}).raw == raw else 'changed'
documents = '${\ join ' ', map { hex_of($_) } @documents}'.split()
print(' '.join(insert(number, bytes.fromhex(raw)) for number, raw in enumerate(documents)))
PY
}

# With the number of the document as its _id, in front.
sub with_id { my ($number, $elements) = @_; return bson("{ 10 '_id' " . hex_of(pack 'V', $number) . " $elements }"); }

sub with_json_id
{
	my ($number, $text) = @_;
	return $text =~ s/^\{(?=(\}?))/"{\"_id\":$number" . ($1 ? '' : ',')/er;
}

sub load
{
	my ($collection) = @_;
	my $job = sql(qq(SELECT migrate_start('$uri', '$collection', options => '{"json_format": "canonical", "layout": "document"}')));
	is(sql("SELECT migrate_wait($job, '120 s')"), 'completed', "$collection: completes");
	return $job;
}

# By _id: what the view says, and the bytes.
sub letters
{
	my ($job) = @_;
	return rows("SELECT json_build_array((e.source_id::json ->> '\$numberInt')::integer, concat_ws('|', e.stage, e.sqlstate, e.message, l.detail, coalesce(e.path, '')),
			e.document::text, encode(l.raw, 'hex'))
		FROM migrate_errors e JOIN mongo_migrate.dead_letter l USING (error_id) WHERE e.job_id = $job ORDER BY (e.source_id::json ->> '\$numberInt')::integer");
}

# Valid documents are as stated, but for a NUL, which jsonb cannot hold.
my @sent = map { with_id($_, $valid[$_]{bytes}) } 0 .. $storable - 1;
my @inserted = insert('valid', @sent);
is(join(', ', map { "$valid[$_]{name}: $inserted[$_]" } grep { ($inserted[$_] // '') ne 'same' } 0 .. $#sent), '', 'mongod has every valid document as it was sent');
my $job = load('valid');
my ($with_nul, $without) = ([], []);
push @{$valid[$_]{expected} =~ /\\u0000/ ? $with_nul : $without}, $_ foreach 0 .. $#sent;
my ($differ) = rows(q{SELECT coalesce(json_agg(i), '[]') FROM (VALUES }
	. join(', ', map { "($_, " . as_jsonb(with_json_id(qq({"\$numberInt":"$_"}), $valid[$_]{expected})) . ')' } @$without)
	. ') AS v (i, e) WHERE NOT EXISTS (SELECT FROM valid WHERE _id = i AND doc = e)');
is(join(', ', map { $valid[$_]{name} } @$differ), '', 'every document is the Extended JSON that is stated');
is(sql('SELECT count(*) FROM valid'), @$without, 'and there is no other');
my @letters = letters($job);
$_->[2] = normal($_->[2]) foreach @letters;
is_deeply(\@letters, [map { [$_, nul_at('v'), normal(with_json_id($_, $valid[$_]{relaxed})), hex_of($sent[$_])] } @$with_nul],
	'those with a NUL are dead letters, with their bytes');

# A mongod does not look at the second length that old binaries have.
my @damaged = map { with_id($_, element('v', $corrupt_values[$_]{bytes})) } 0 .. $#corrupt_values;
@inserted = insert('corrupt', @damaged);
my @taken = grep { $inserted[$_] ne 'refused' } 0 .. $#damaged;
note("taken: $corrupt_values[$_]{name}") foreach @taken;
cmp_ok(scalar @taken, '>', 0, 'mongod has some corrupt documents');
$job = load('corrupt');
is_deeply([letters($job)], [map { [$_, (split m{ / }, corrupt($corrupt_values[$_]{expected}))[1], undef, hex_of($damaged[$_])] } @taken],
	'all of them are dead letters, with their bytes');
is(sql('SELECT count(*) FROM corrupt'), 0, 'and none is a row');
done_testing();
