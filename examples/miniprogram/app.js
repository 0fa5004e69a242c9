const { Session } = require('./lib/session.js');

App({
  // One session for all pages: a connection belongs to the user, not to a page.
  session: new Session(),

  onLaunch() {
    this.session.start();
  },
});
