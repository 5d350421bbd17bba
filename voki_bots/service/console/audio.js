// Sound to and from a desk: by WebRTC, or as PCM over its websocket where that does not connect.
const worklets = async (context) => context.audioWorklet.addModule("/console/worklet.js");

// Hears what comes as PCM, and says what the microphone gives.
export class Sound {
  constructor(send) {
    this.send = send;
    this.context = null;
    this.player = null;
    this.microphone = null;
    this.capture = null;
    this.connection = null;
    this.talking = false;
    this.tail = 0;
  }

  // Only once somebody has pressed something may a page make a sound.
  async open() {
    if (this.context) return this.context.resume();
    this.context = new AudioContext();
    await worklets(this.context);
    this.player = new AudioWorkletNode(this.context, "play", { numberOfInputs: 0, outputChannelCount: [1] });
    this.player.connect(this.context.destination);
    return undefined;
  }

  get byWebrtc() { return this.connection?.connectionState === "connected"; }

  play(pcm) {
    if (this.byWebrtc || !this.player) return;
    const samples = Float32Array.from(new Int16Array(pcm), (each) => each / 32768);
    document.body.dataset.heard = Number(document.body.dataset.heard ?? 0) + samples.length;
    this.player.port.postMessage(samples, [samples.buffer]);
  }

  // An offer with one line for both ways; its microphone comes later, without another offer.
  async offer() {
    const connection = this.connection = new RTCPeerConnection();
    const line = connection.addTransceiver("audio", { direction: "sendrecv" });
    this.sender = line.sender;
    const output = new Audio();
    output.autoplay = true;
    connection.ontrack = ({ track }) => { output.srcObject = new MediaStream([track]); };
    this.output = output;
    await connection.setLocalDescription();
    await Promise.race([
      new Promise((done) => {
        connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && done();
      }),
      new Promise((done) => setTimeout(done, 1000)),
    ]);
    return connection.localDescription.sdp;
  }

  async answer(sdp) {
    await this.connection?.setRemoteDescription({ type: "answer", sdp });
  }

  // Throws if the microphone is refused, or there is none.
  async listenIn() {
    if (this.microphone) return;
    const wanted = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    this.microphone = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    const source = this.context.createMediaStreamSource(this.microphone);
    this.capture = new AudioWorkletNode(this.context, "capture", { numberOfOutputs: 0 });
    this.capture.port.onmessage = ({ data }) => this.took(data);
    source.connect(this.capture);
  }

  took(samples) {
    const still = this.talking || performance.now() < this.tail;
    if (!still || this.byWebrtc) return;
    this.send(Int16Array.from(samples, (each) => Math.max(-1, Math.min(1, each)) * 32767).buffer);
  }

  press() {
    this.talking = true;
    this.sender?.replaceTrack(this.microphone.getAudioTracks()[0]);
  }

  // The last syllable comes late; after it nothing of the microphone goes anywhere.
  release() {
    if (!this.talking) return;
    this.talking = false;
    this.tail = performance.now() + 350;
    setTimeout(() => { if (!this.talking) this.sender?.replaceTrack(null); }, 400);
  }

  // The microphone is off, and its light with it.
  async close() {
    for (const track of this.microphone?.getTracks() ?? []) track.stop();
    this.connection?.close();
    await this.context?.close();
    this.microphone = this.connection = this.context = this.player = null;
  }
}
