#!/bin/sh
# client.sh [USER]: calls Postern as an app and as one of its users, with curl,
# openssl and jq. POSTERN_URL, POSTERN_PUBLIC_KEY and POSTERN_SECRET_KEY come
# from the environment.
set -eu

: "${POSTERN_URL:?}" "${POSTERN_PUBLIC_KEY:?}" "${POSTERN_SECRET_KEY:?}"

die() {
	echo "$*" >&2
	exit 1
}

b64url() {
	openssl base64 -A | tr '+/' '-_' | tr -d '='
}

# The HMAC key is the secret key's characters as they stand, not the bytes that
# its hex stands for: -hmac, and not -macopt hexkey. (While openssl runs, others
# on this machine can see its arguments; where that matters, use another
# language or `postern token`.)
mint() { # CLAIMS: a token with these members beside exp, good for a minute
	data=$(printf '{"alg":"HS256","typ":"JWT"}' | b64url).$(
		printf %s "$1" | jq -cj '.exp = (now | floor) + 60' | b64url)
	mac=$(printf %s "$data" |
		openssl dgst -sha256 -hmac "$POSTERN_SECRET_KEY" -binary | b64url)
	echo "$data.$mac"
}

app_token() { # without sub: it speaks for the app itself, and may do all
	mint '{}'
}

user_token() { # USER
	[ -n "$1" ] || die 'a user token needs a user: the name is empty'
	mint "$(jq -cn --arg user "$1" '{sub: $user}')"
}

# The headers go by standard input: others can't see them there.
call() { # METHOD PATH TOKEN [BODY]: prints the answer's JSON
	answer=$(printf 'X-Public-Key: %s\nAuthorization: Bearer %s\n' \
		"$POSTERN_PUBLIC_KEY" "$3" | curl -sS -X "$1" -H @- \
		-w '\n%{http_code}' ${4:+--json "$4"} "$POSTERN_URL$2")
	status=$(printf '%s\n' "$answer" | tail -n 1)
	answer=$(printf '%s\n' "$answer" | sed '$d')
	case $status in
	2??) printf '%s\n' "$answer" ;;
	*) die "$status $(printf %s "$answer" | jq -r '.code + ": " + .detail' \
		2>/dev/null || echo 'from the web server')" ;;
	esac
}

user=${1-ada}
app_token=$(app_token)
user_token=$(user_token "$user")
path=/v1/users/$(jq -rn --arg user "$user" '$user | @uri')

who=$(call GET /v1/whoami "$app_token")
printf '%s\n' "$who" | jq -r '"whoami, app token: " + .app.name'
who=$(call GET /v1/whoami "$user_token")
printf '%s\n' "$who" |
	jq -r '"whoami, user token: " + .app.name + ", " + .claims.sub'
call PUT "$path" "$app_token" '{"city":"London"}' >/dev/null
document=$(call GET /v1/me "$user_token")
printf '%s\n' "$document" | jq -r '"stored and read: " + .city'
