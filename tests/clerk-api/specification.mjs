// Prints Clerk's OpenAPI file with every path below /v1, as its servers have it: Prism matches paths alone.
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'

const specification = parse(readFileSync(process.argv[2], 'utf8'))
const paths = Object.entries(specification.paths)
specification.paths = Object.fromEntries(paths.map(([path, operations]) => [`/v1${path}`, operations]))
delete specification.servers
console.log(JSON.stringify(specification))
