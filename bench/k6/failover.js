// A chain whose first target fails: k6 run -e MODEL=smart bench/k6/failover.js
// weir.lua, for trying it with weir-mock:  model "smart" { "mock/mock-503", "mock/mock" }
// Every request must be answered all the same; x-weir-attempts says that more than one target was tried. After some failures weir may
// leave the bad target out for a while, so not every request has two attempts.
import { check } from 'k6';
import { Rate } from 'k6/metrics';
import { options as common, ask, whole, streamed } from './weir.js';

const rescued = new Rate('weir_rescued');
export const options = common({ http_req_failed: ['rate<0.01'] });
export default function () {
  const stream = __ITER % 2 === 1;
  const answer = ask(__ENV.MODEL || 'smart', stream);
  (stream ? streamed : whole)(answer);
  check(answer, { 'says its target': (r) => !!r.headers['X-Weir-Target'] });
  rescued.add(Number(answer.headers['X-Weir-Attempts'] || 1) > 1);
}
