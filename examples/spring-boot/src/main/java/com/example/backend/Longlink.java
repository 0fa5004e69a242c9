package com.example.backend;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.http.HttpMethod;
import org.springframework.http.MediaType;
import org.springframework.stereotype.Component;
import org.springframework.web.client.RestClient;
import org.springframework.web.client.RestClientException;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The backend's side of longlink: its HTTP interface and its webhooks. */
@Component
class Longlink {
  private static final Logger LOG = LoggerFactory.getLogger(Longlink.class);
  private static final Duration TIMEOUT = Duration.ofSeconds(3);
  private static final int ATTEMPTS = 3;
  private static final int LONGEST_WAIT = 2; // seconds; a caller who would have to wait longer is told so
  private static final int OLDEST_WEBHOOK = 300; // seconds

  private record Answer(int status, String retryAfter, JsonNode json) {}

  private record Snapshot(String epoch, long seq, Set<String> users) {}

  private final RestClient http;
  private final JsonMapper json;
  private final SecretKeySpec webhookSecret;

  // The last event that was taken, who is online, and the last event that `users` knew of when longlink was asked. In
  // several processes this belongs into your database.
  private String epoch = "";
  private long seq = 0;
  private Set<String> users = new TreeSet<>();
  private long snapshot = 0;

  Longlink(JsonMapper json, @Value("${longlink.api}") String api, @Value("${longlink.key}") String key,
      @Value("${webhook.secret}") String webhookSecret) {
    this.http = RestClient.builder().requestFactory(WeChat.requests(TIMEOUT)).baseUrl(api)
        .defaultHeader("Authorization", "Bearer " + key).build();
    this.json = json;
    this.webhookSecret = new SecretKeySpec(webhookSecret.getBytes(UTF_8), "HmacSHA256");
  }

  /**
   * Sends a message to a user. It waits for a user who is away. A call that is repeated with the same key sends it only
   * once, so that every caller, also this function, may try again.
   *
   * @return {@code stored} or {@code queued}: every device of the user gets the message, now or later. {@code sent}: pages
   *     of the older protocol get it now. {@code offline}: nobody gets it.
   */
  String push(String user, Object message, String key) {
    var body = Map.of("user", user, "from", "orders", "message", message, "keep", true, "idempotencyKey", key);
    for (int attempt = 1; ; attempt++) {
      Problem problem;
      try {
        String state = ask(HttpMethod.POST, "/api/send", body).path("results").path(0).path("state").asString("");
        if (!state.equals("busy")) {
          return state;
        }
        problem = new Problem(503, "longlink_busy", "The user has too many messages waiting.", 1);
      } catch (Problem error) {
        problem = error;
      }
      if (problem.status != 503 || attempt == ATTEMPTS || problem.retryAfter > LONGEST_WAIT) {
        throw problem;
      }
      try {
        Thread.sleep(problem.retryAfter * 1000L);
      } catch (InterruptedException error) {
        Thread.currentThread().interrupt();
        throw problem;
      }
    }
  }

  /** Asks a route of longlink's interface. */
  private JsonNode ask(HttpMethod method, String route, Object body, Object... variables) {
    Answer answer;
    try {
      var request = http.method(method).uri(route, variables);
      if (body != null) {
        request.contentType(MediaType.APPLICATION_JSON).body(json.writeValueAsBytes(body));
      }
      answer = request.exchange((sent, response) -> new Answer(response.getStatusCode().value(),
          response.getHeaders().getFirst("Retry-After"), json.readTree(response.getBody())));
    } catch (RestClientException | JacksonException error) {
      // Nobody listens, the connection broke, no answer came in time, or a proxy answered with a page.
      LOG.error("longlink cannot be reached: {}", error.getMessage());
      throw new Problem(503, "longlink_unreachable", "longlink cannot be reached. Try again a little later.", 1);
    }
    if (answer.status == 200) {
      return answer.json;
    }
    String code = answer.json.path("error").path("code").asString("");
    if (answer.status == 429 || answer.status >= 500) {
      boolean isNumber = answer.retryAfter != null && answer.retryAfter.matches("[1-9]\\d{0,8}");
      throw new Problem(503, "longlink_busy", "longlink cannot do this now: " + code,
          isNumber ? Integer.parseInt(answer.retryAfter) : 1);
    }
    LOG.error("longlink refuses {}: {} {}", route, answer.status, answer.json);
    throw new Problem(502, "longlink_refused", "longlink refuses this: " + code);
  }

  /** Whether a webhook is signed with the secret, and was sent in the last five minutes. */
  boolean isSigned(String timestamp, String signature, byte[] body) {
    try {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(webhookSecret);
      mac.update((timestamp + ".").getBytes(UTF_8));
      String expected = "v1=" + HexFormat.of().formatHex(mac.doFinal(body));
      return MessageDigest.isEqual(expected.getBytes(UTF_8), signature.getBytes(UTF_8))
          && timestamp.matches("\\d{1,15}")
          && Math.abs(System.currentTimeMillis() / 1000 - Long.parseLong(timestamp)) < OLDEST_WEBHOOK;
    } catch (GeneralSecurityException error) {
      throw new IllegalStateException(error);
    }
  }

  /** What longlink posts to this backend. */
  record Webhook(String epoch, List<Event> events) {}

  record Event(long seq, String type, String user, String toUserId) {}

  /** Takes the events of a webhook, one webhook after the other. */
  synchronized void take(Webhook webhook) {
    for (Event event : webhook.events) {
      if (webhook.epoch.equals(epoch) && event.seq <= seq) {
        continue; // longlink has sent this event again
      }
      if (!webhook.epoch.equals(epoch) || event.seq != seq + 1) {
        // Events are missing, or one of the two programs was started again. If longlink does not answer, it gets an
        // error, and sends the same events again later.
        Snapshot now = whoIsOnline();
        users = now.users;
        if (!now.epoch.equals(webhook.epoch)) {
          return; // events of a server that is gone
        }
        epoch = now.epoch;
        snapshot = now.seq;
      }
      seq = event.seq;
      if (event.type.equals("online") && event.seq > snapshot) {
        users.add(event.user);
      } else if (event.type.equals("offline") && event.seq > snapshot) {
        users.remove(event.user);
      } else if (event.type.equals("undelivered")) {
        // This is the moment for a subscription message of WeChat, which reaches a user who is not in the mini-program.
        LOG.warn("undelivered: a message to {}", event.toUserId);
      }
    }
  }

  /** Asks who is online, and which event is the last one that the answer includes. */
  private Snapshot whoIsOnline() {
    JsonNode first = ask(HttpMethod.GET, "/api/online", null);
    String epoch = first.path("epoch").asString("");
    var users = new TreeSet<String>();
    for (JsonNode page = first; ; ) {
      page.path("users").forEach(user -> users.add(user.asString()));
      if (page.path("next").isNull()) {
        return new Snapshot(epoch, first.path("seq").asLong(), users);
      }
      page = ask(HttpMethod.GET, "/api/online?after={user}", null, page.path("next").asString());
      if (!page.path("epoch").asString("").equals(epoch)) {
        throw new Problem(503, "longlink_busy", "longlink was started again.", 1);
      }
    }
  }

  /** Returns the users who are online, in the order of their ids. */
  synchronized List<String> online() {
    return List.copyOf(users);
  }
}
