import * as tf from '@tensorflow/tfjs-core';
import { useBackend } from '@mezzotint/backend';
import { stepBoundary } from '@mezzotint/core';
import { adamW, valueAndGradients } from '@mezzotint/training';
import { networks } from './networks.js';
await useBackend({engine:'onnxruntime'});
const {model,forward}=networks[(process.argv[2]??'dit-s4') as 'dit-s4'].build();
const params=model.params();const optimizer=adamW(model,{weightDecay:0.01});
const loss=()=>tf.tidy(()=>tf.mean(tf.square(forward()))) ;
const cpu=()=>{const u=process.cpuUsage();return (u.user+u.system)/1e3};
const T:number[][]=[[],[],[],[]];
for(let i=0;i<Number(process.argv[3]??8);i++){
 const t0=performance.now();const {value,gradients}=valueAndGradients(params,loss);const t1=performance.now();stepBoundary();await value.data();const t2=performance.now();
 await optimizer.step(gradients,{learningRate:1e-4,maxGradientNorm:1});tf.dispose([value,...gradients.values()]);stepBoundary();const t3=performance.now();
 T[0]!.push(t1-t0);T[1]!.push(t2-t1);T[2]!.push(t3-t2);T[3]!.push(t3-t0);
}
const med=(a:number[])=>a.slice(2).sort((x,y)=>x-y)[(a.length-2)>>1]!.toFixed(1);
console.log('write',med(T[0]!),'run',med(T[1]!),'update',med(T[2]!),'all',med(T[3]!));
