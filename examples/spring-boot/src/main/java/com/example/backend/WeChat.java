package com.example.backend;

import java.net.http.HttpClient;
import java.time.Duration;
import java.util.Map;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.http.client.JdkClientHttpRequestFactory;
import org.springframework.stereotype.Component;
import org.springframework.web.client.RestClient;
import org.springframework.web.client.RestClientException;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** Asks WeChat which user a code of wx.login belongs to. */
@Component
class WeChat {
  private static final Logger LOG = LoggerFactory.getLogger(WeChat.class);
  private static final Duration TIMEOUT = Duration.ofSeconds(5);

  /** What the errors of code2session mean for the mini-program. */
  private static final Map<Integer, Supplier<Problem>> ERRORS = Map.of(
      40029, () -> new Problem(401, "wrong_code", "WeChat does not know this code. Call wx.login again."),
      40163, () -> new Problem(401, "wrong_code", "This code was used before. Call wx.login again."),
      40226, () -> new Problem(403, "blocked", "WeChat has blocked this user as a risk."),
      45011, () -> new Problem(429, "too_many_logins", "This user has logged in too often.", 60),
      -1, () -> new Problem(503, "wechat_busy", "WeChat is busy. Call wx.login again a little later.", 2));

  private final RestClient http;
  private final JsonMapper json;
  private final String appid;
  private final String appsecret;

  WeChat(JsonMapper json, @Value("${wechat}") String server, @Value("${appid}") String appid,
      @Value("${appsecret}") String appsecret) {
    this.http = RestClient.builder().requestFactory(requests(TIMEOUT)).baseUrl(server).build();
    this.json = json;
    this.appid = appid;
    this.appsecret = appsecret;
  }

  /** Makes requests that end after this time, in any case. */
  static JdkClientHttpRequestFactory requests(Duration timeout) {
    var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(timeout).build();
    var factory = new JdkClientHttpRequestFactory(client);
    factory.setReadTimeout(timeout);
    return factory;
  }

  /**
   * Returns the openid of the user. WeChat answers 200 for errors, too, and calls its JSON text/plain. The session_key in
   * the answer stays in the backend.
   */
  String openidOf(String code) {
    JsonNode session;
    try {
      session = http.get()
          .uri("/sns/jscode2session?appid={a}&secret={s}&js_code={c}&grant_type=authorization_code", appid, appsecret, code)
          .exchange((request, response) -> json.readTree(response.getBody()));
    } catch (RestClientException | JacksonException error) {
      // The error's text is not logged, because it may contain the URL with the AppSecret.
      LOG.error("WeChat cannot be reached: {}", error.getClass().getSimpleName());
      throw new Problem(503, "wechat_unreachable", "WeChat cannot be reached. Call wx.login again a little later.", 2);
    }
    if (!session.path("openid").asString("").isEmpty()) {
      return session.path("openid").asString();
    }
    int errcode = session.path("errcode").asInt(0);
    if (ERRORS.containsKey(errcode)) {
      throw ERRORS.get(errcode).get();
    }
    // For example 40013 and 40125: the AppID or the AppSecret is wrong. Only you can correct this.
    LOG.error("WeChat refuses this backend: {} {}", errcode, session.path("errmsg").asString(""));
    throw new Problem(502, "wechat_refused", "WeChat refuses this backend. Its log says why.");
  }
}
