// Runs http-tests/cache-tests, or some of its rows, against a cache: `node judge.mjs BASE [ID...]`.
// Prints for each row what came of it.
import fetch from 'node-fetch'

import { getResults, runTests } from 'http-cache-tests/client/runner.mjs'
import tests from 'http-cache-tests/tests/index.mjs'
import surrogate from 'http-cache-tests/tests/surrogate-control.mjs'

const [base, ...ids] = process.argv.slice(2)
const suites = [...tests, surrogate].map(suite => ({
  ...suite,
  tests: suite.tests.filter(test => ids.length === 0 || ids.includes(test.id))
}))
const byId = Object.fromEntries(suites.flatMap(suite => suite.tests).map(test => [test.id, test]))
await runTests(suites, fetch, false, base)
const results = getResults()
const rows = Object.keys(results).map(id => ({
  id,
  kind: byId[id].kind || 'required',
  passed: results[id] === true,
  why: results[id] === true ? '' : results[id].join(': ')
}))
console.log(JSON.stringify(rows))
