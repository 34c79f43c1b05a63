import '@tensorflow/tfjs-backend-cpu';
import { specsRunOn } from './environment.js';

specsRunOn('cpu');
