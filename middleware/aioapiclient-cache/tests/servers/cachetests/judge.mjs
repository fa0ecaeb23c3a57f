// Runs http-tests/cache-tests against a cache: `node judge.mjs BASE`. Prints for each row what came of it.
import fetch from 'node-fetch'

import { getResults, runTests } from 'http-cache-tests/client/runner.mjs'
import tests from 'http-cache-tests/tests/index.mjs'
import surrogate from 'http-cache-tests/tests/surrogate-control.mjs'

const suites = [...tests, surrogate]
const byId = Object.fromEntries(suites.flatMap(suite => suite.tests).map(test => [test.id, test]))
await runTests(suites, fetch, false, process.argv[2])
const results = getResults()
const rows = Object.keys(results).map(id => ({
  id,
  kind: byId[id].kind || 'required',
  passed: results[id] === true,
  why: results[id] === true ? '' : results[id].join(': ')
}))
console.log(JSON.stringify(rows))
