// Holds the sample events of tests/samples against the webhook schema of Clerk. What differs must be listed in
// known-differences.json, with its reason; and what is listed there must differ.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import Ajv from 'ajv'
import { parse } from 'yaml'

const [schemaFile, samples, differencesFile] = process.argv.slice(2)
const known = JSON.parse(readFileSync(differencesFile, 'utf8'))
const file = parse(readFileSync(schemaFile, 'utf8'))

// OpenAPI 3.0 says `nullable` where JSON Schema has the type `null`.
function withNull(schema) {
    if (Array.isArray(schema)) return schema.map(withNull)
    if (schema === null || typeof schema !== 'object') return schema
    const entries = Object.entries(schema).filter(([name]) => name !== 'nullable' && name !== 'discriminator')
    const plain = Object.fromEntries(entries.map(([name, value]) => [name, withNull(value)]))
    return schema.nullable === true ? { anyOf: [plain, { type: 'null' }] } : plain
}

const schemas = withNull(file.components.schemas)
const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false })
ajv.addSchema({ $id: 'clerk', components: { schemas } })

// The schema of an event by its type: what its webhook says of the body.
const bodies = new Map()
for (const [type, item] of Object.entries(file['x-webhooks'] ?? file.webhooks)) {
    const body = item.post.requestBody.content['application/json'].schema
    bodies.set(type, ajv.compile(absolute(withNull(body))))
}

function absolute(schema) {
    if (Array.isArray(schema)) return schema.map(absolute)
    if (schema === null || typeof schema !== 'object') return schema
    return Object.fromEntries(Object.entries(schema).map(([name, value]) => [
        name, name === '$ref' ? `clerk${value}` : absolute(value),
    ]))
}

let valid = 0
const faults = []
for (const name of readdirSync(samples).filter((name) => /^[a-zA-Z]+\.[a-z]+.*\.json$/.test(name)).sort()) {
    const event = JSON.parse(readFileSync(join(samples, name), 'utf8'))
    const validate = bodies.get(event.type)
    const isValid = validate !== undefined && validate(event)
    const reason = known[name]
    if (isValid && reason !== undefined) faults.push(`${name} is valid: take it out of ${differencesFile}`)
    if (!isValid && reason === undefined) {
        const errors = validate ? validate.errors.slice(0, 5).map((error) => `${error.instancePath} ${error.message}`) : ['unknown type']
        faults.push(`${name}: ${errors.join('; ')}`)
    }
    valid += isValid
}
for (const name of Object.keys(known)) {
    if (!readdirSync(samples).includes(name)) faults.push(`${name} is in ${differencesFile}, and there is no such sample`)
}
faults.forEach((fault) => console.error(`check-clerk-api: ${fault}`))
console.error(`check-clerk-api: ${valid} sample events are valid, ${Object.keys(known).length} differ as listed`)
process.exit(faults.length === 0 ? 0 : 1)
