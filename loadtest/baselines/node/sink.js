// A sink on Node's smtp-server: it reads every message and drops it. Port: the argument.
const { SMTPServer } = require('smtp-server');

new SMTPServer({
  authOptional: true,
  disabledCommands: ['AUTH', 'STARTTLS'],
  disableReverseLookup: true,
  onData(stream, session, done) {
    stream.on('end', () => done());
    stream.resume();
  },
}).listen(Number(process.argv[2]), '127.0.0.1', 4096);
