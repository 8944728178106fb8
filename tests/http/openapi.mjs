// openapi.mjs FILE: is it a valid OpenAPI document? Prints its version, or why
// it is not.
import { Validator } from "@seriousme/openapi-schema-validator";

const validator = new Validator();
const result = await validator.validate(process.argv[2]);
if (!result.valid) {
	console.error(JSON.stringify(result.errors, null, 1));
	process.exit(1);
}
console.log(validator.version);
