// jose.mjs sign SECRET CLAIMS | verify SECRET TOKEN: by the library jose.
import { SignJWT, jwtVerify } from "jose";

const [, , what, secret, text] = process.argv;
// The HMAC key is the secret key's characters as they stand.
const key = new TextEncoder().encode(secret);

if (what === "sign") {
	console.log(await new SignJWT(JSON.parse(text))
		.setProtectedHeader({ alg: "HS256" })
		.setIssuedAt()
		.setExpirationTime("5m")
		.sign(key));
} else {
	const { payload } = await jwtVerify(text, key, { algorithms: ["HS256"] });
	console.log(JSON.stringify(payload));
}
