// Runs beside the page: takes 16 kHz out of the microphone, and plays 16 kHz that came over the network.
const RATE = 16000;
const FRAME = 320;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = sampleRate / RATE;
    this.position = 0;
    this.sum = 0;
    this.count = 0;
    this.frame = new Float32Array(FRAME);
    this.filled = 0;
  }

  // The mean of what falls into each sixteenth of a millisecond: speech needs no better filter.
  process([input]) {
    for (const sample of input[0] ?? []) {
      this.sum += sample;
      this.count += 1;
      this.position += 1;
      if (this.position < this.step) continue;
      this.position -= this.step;
      this.frame[this.filled++] = this.sum / this.count;
      this.sum = this.count = 0;
      if (this.filled === FRAME) {
        this.port.postMessage(this.frame);
        this.frame = new Float32Array(FRAME);
        this.filled = 0;
      }
    }
    return true;
  }
}

class Play extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = RATE / sampleRate;
    this.waiting = [];
    this.length = 0;
    this.at = 0;
    this.primed = false;
    this.port.onmessage = ({ data }) => {
      this.waiting.push(data);
      this.length += data.length;
      // What waits for longer than 300 ms is late for good.
      while (this.length > 0.3 * RATE) this.length -= this.waiting.shift().length, (this.at = 0);
    };
  }

  process(_, [output]) {
    const [channel] = output;
    if (!this.primed && this.length < 0.06 * RATE) return true;
    this.primed = true;
    for (let n = 0; n < channel.length; n += 1) {
      const [first] = this.waiting;
      if (!first) { this.primed = false; break; }
      const index = Math.floor(this.at);
      const next = index + 1 < first.length ? first[index + 1] : this.waiting[1]?.[0] ?? first[index];
      channel[n] = first[index] + (next - first[index]) * (this.at - index);
      this.at += this.step;
      if (this.at >= first.length) {
        this.at -= first.length;
        this.length -= first.length;
        this.waiting.shift();
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);
registerProcessor("play", Play);
