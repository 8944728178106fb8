// client.mjs [USER]: calls Postern as an app and as one of its users, with
// jose (npm install). POSTERN_URL, POSTERN_PUBLIC_KEY and POSTERN_SECRET_KEY
// come from the environment.
import { SignJWT } from 'jose';

const { POSTERN_URL, POSTERN_PUBLIC_KEY, POSTERN_SECRET_KEY } = process.env;

// The HMAC key is the secret key's characters as they stand, not the bytes that
// its hex stands for: no Buffer.from(secret, 'hex') here.
const key = new TextEncoder().encode(POSTERN_SECRET_KEY);

// A token that is good for a minute.
function mint(claims) {
  return new SignJWT(claims)
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('1m')
    .sign(key);
}

// Without sub: it speaks for the app itself, and may do all.
function appToken() {
  return mint({});
}

// JSON.stringify drops a sub that is undefined: what was meant for a user would
// then speak for the app. Hence the check.
async function userToken(user) {
  if (typeof user !== 'string' || user === '')
    throw new Error('a user token needs a user: the name is empty');
  return mint({ sub: user });
}

async function call(method, path, token, body) {
  const answer = await fetch(POSTERN_URL + path, {
    method,
    headers: {
      'X-Public-Key': POSTERN_PUBLIC_KEY,
      Authorization: `Bearer ${token}`,
      'Content-Type': 'application/json',
    },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  if (answer.ok)
    return answer.json();
  if (answer.headers.get('Content-Type') !== 'application/problem+json')
    throw new Error(`${answer.status} from the web server`);
  const { code, detail } = await answer.json();
  throw new Error(`${answer.status} ${code}: ${detail}`);
}

async function main(user = 'ada') {
  const asUser = await userToken(user);
  const asApp = await appToken();

  let who = await call('GET', '/v1/whoami', asApp);
  console.log(`whoami, app token: ${who.app.name}`);
  who = await call('GET', '/v1/whoami', asUser);
  console.log(`whoami, user token: ${who.app.name}, ${who.claims.sub}`);
  const path = `/v1/users/${encodeURIComponent(user)}`;
  await call('PUT', path, asApp, { city: 'London' });
  const { city } = await call('GET', '/v1/me', asUser);
  console.log(`stored and read: ${city}`);
}

main(process.argv[2]).catch((e) => {
  console.error(e.message);
  process.exitCode = 1;
});
