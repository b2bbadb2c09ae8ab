// What the scripts beside it share: where weir is, what is asked, what a good answer is.
//   WEIR=http://127.0.0.1:8080   KEY=weir_…   MODEL=mock   VUS=20   SECONDS=30   PROMPT="…"
// Each request is a real one: with a provider that is not weir-mock it costs what it costs.
import http from 'k6/http';
import { check } from 'k6';
import { Counter } from 'k6/metrics';

export const faults = new Counter('weir_faults');
const base = __ENV.WEIR || 'http://127.0.0.1:8080';

export function options(thresholds) {
  return {
    scenarios: { load: { executor: 'constant-vus', vus: Number(__ENV.VUS || 20), duration: `${__ENV.SECONDS || 30}s`, gracefulStop: '60s' } },
    thresholds: Object.assign({ checks: ['rate>0.99'] }, thresholds),
    summaryTrendStats: ['min', 'med', 'p(90)', 'p(99)', 'max'],
  };
}

export function ask(model, stream) {
  const headers = { 'content-type': 'application/json' };
  if (__ENV.KEY) headers.authorization = `Bearer ${__ENV.KEY}`;
  const messages = [{ role: 'user', content: __ENV.PROMPT || 'Say something short.' }];
  const answer = http.post(`${base}/v1/chat/completions`, JSON.stringify({ model, stream, messages }), { headers, timeout: '120s', tags: { model } });
  if (answer.status !== 200) {
    let fault = `status ${answer.status}`;
    try { fault = answer.json('error.weir.fault') || fault; } catch (e) { /* not weir's own error */ }
    faults.add(1, { fault });
  }
  return answer;
}

export const whole = (answer) => check(answer, {
  'status 200': (r) => r.status === 200,
  'an answer is in it': (r) => { try { return r.json('choices.0.message.content').length > 0; } catch (e) { return false; } },
});

// A stream never lies: it ends with its terminator, and holds no error event.
export const streamed = (answer) => check(answer, {
  'status 200': (r) => r.status === 200,
  'events': (r) => String(r.body).includes('data: {'),
  'the terminator': (r) => String(r.body).trimEnd().endsWith('data: [DONE]'),
  'no error in it': (r) => !String(r.body).includes('data: {"error"'),
});
