// One sound for each kind of outcome, different in number, pitch and timbre: told apart without looking.

const KEY = "tapscan.sound";

// Frequency in hertz, start and length in milliseconds, and the wave's form.
const TUNES = {
  good: [[784, 0, 110, "sine"], [1175, 120, 220, "sine"]],
  later: [[784, 0, 110, "sine"], [784, 130, 110, "sine"], [1047, 260, 200, "sine"]],
  bad: [[220, 0, 220, "square"], [165, 250, 380, "square"]],
  unsure: [[523, 0, 120, "triangle"], [440, 180, 120, "triangle"], [523, 360, 120, "triangle"], [440, 540, 120, "triangle"]],
  again: [[330, 0, 160, "triangle"]],
};
const VOLUME = { sine: 0.35, triangle: 0.35, square: 0.12 };

let context = null;

export function isSoundOn() {
  return localStorage.getItem(KEY) !== "off";
}

export function setSound(isOn) {
  localStorage.setItem(KEY, isOn ? "on" : "off");
  if (isOn) play("good");
}

export function play(name) {
  if (!isSoundOn()) return;
  context ??= new AudioContext();
  // A browser lets nobody be loud before a person has touched the page; a cashier always has.
  context.resume();
  for (const [hertz, startMs, lengthMs, form] of TUNES[name]) {
    const tone = new OscillatorNode(context, { type: form, frequency: hertz });
    const loudness = new GainNode(context, { gain: 0 });
    const start = context.currentTime + startMs / 1000;
    const end = start + lengthMs / 1000;
    loudness.gain.setValueAtTime(VOLUME[form], start);
    loudness.gain.setTargetAtTime(0, end - 0.03, 0.015);
    tone.connect(loudness).connect(context.destination);
    tone.start(start);
    tone.stop(end + 0.1);
  }
}
