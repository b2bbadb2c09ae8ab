// Streams, each read to its end: k6 run -e MODEL=mock bench/k6/stream.js
// http_req_waiting is the time to the head of the answer, http_req_receiving that of the stream.
import { options as common, ask, streamed } from './weir.js';

export const options = common({ http_req_failed: ['rate<0.01'] });
export default function () { streamed(ask(__ENV.MODEL || 'mock', true)); }
