// Whole answers: k6 run -e MODEL=mock bench/k6/chat.js
import { options as common, ask, whole } from './weir.js';

export const options = common({ http_req_failed: ['rate<0.01'] });
export default function () { whole(ask(__ENV.MODEL || 'mock', false)); }
