const { Session } = require('./lib/session.js');

App({
  // One for all pages: a connection belongs to the user, not to a page.
  session: new Session(),

  onLaunch() {
    this.session.start();
  },
});
