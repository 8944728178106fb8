// Calls Postern as an app and as one of its users, with the browser's WebCrypto
// and without any library or build. Put this directory below the pages that the
// web server serves beside /v1; from another origin, POSTERN_CORS_ORIGINS has
// to name it.

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

const utf8 = (text) => new TextEncoder().encode(text);

// A token that is good for a minute. The HMAC key is the secret key's
// characters as they stand, not the bytes that its hex stands for.
async function mint(secretKey, claims) {
  const key = await crypto.subtle.importKey('raw', utf8(secretKey),
    { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  const exp = Math.floor(Date.now() / 1000) + 60;
  const data = [{ alg: 'HS256', typ: 'JWT' }, { ...claims, exp }]
    .map((part) => base64url(utf8(JSON.stringify(part)))).join('.');
  const mac = await crypto.subtle.sign('HMAC', key, utf8(data));
  return `${data}.${base64url(new Uint8Array(mac))}`;
}

// Without sub: it speaks for the app itself, and may do all.
function appToken(secretKey) {
  return mint(secretKey, {});
}

// JSON.stringify drops a sub that is undefined: what was meant for a user would
// then speak for the app. Hence the check.
async function userToken(secretKey, user) {
  if (typeof user !== 'string' || user === '')
    throw new Error('a user token needs a user: the name is empty');
  return mint(secretKey, { sub: user });
}

async function call(site, method, path, token, body) {
  const answer = await fetch(site.url + path, {
    method,
    headers: {
      'X-Public-Key': site.publicKey,
      Authorization: `Bearer ${token}`,
      'Content-Type': 'application/json',
    },
    body: body && JSON.stringify(body),
  });
  if (answer.ok)
    return answer.json();
  if (answer.headers.get('Content-Type') !== 'application/problem+json')
    throw new Error(`${answer.status} from the web server`);
  const { code, detail } = await answer.json();
  throw new Error(`${answer.status} ${code}: ${detail}`);
}

async function session(site, print) {
  const asUser = await userToken(site.secretKey, site.user);
  const asApp = await appToken(site.secretKey);

  let who = await call(site, 'GET', '/v1/whoami', asApp);
  print(`whoami, app token: ${who.app.name}`);
  who = await call(site, 'GET', '/v1/whoami', asUser);
  print(`whoami, user token: ${who.app.name}, ${who.claims.sub}`);
  const path = `/v1/users/${encodeURIComponent(site.user)}`;
  await call(site, 'PUT', path, asApp, { city: 'London' });
  const { city } = await call(site, 'GET', '/v1/me', asUser);
  print(`stored and read: ${city}`);
}

const form = document.getElementById('form');
const out = document.getElementById('out');
form.elements.url.value = location.origin;
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  out.textContent = '';
  out.dataset.state = 'running';
  const print = (line) => { out.textContent += `${line}\n`; };
  try {
    await session(Object.fromEntries(new FormData(form)), print);
    out.dataset.state = 'done';
  } catch (e) {
    print(e.message);
    out.dataset.state = 'failed';
  }
});
