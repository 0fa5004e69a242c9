package com.example.backend;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.jsonwebtoken.JwtException;
import io.jsonwebtoken.Jwts;
import io.jsonwebtoken.security.Keys;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.Collections;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import javax.crypto.SecretKey;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.http.HttpStatus;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

@RestController
class BackendController {
  private static final int TICKET_SECONDS = 7200;
  private static final List<String> STATUSES = List.of("placed", "making", "ready");

  /** What the user sees of an order. */
  record Shown(String id, String status) {}

  private record Order(String user, Shown shown) {}

  private final WeChat wechat;
  private final Longlink longlink;
  private final JsonMapper json;
  private final SecretKey ticketSecret;
  private final byte[] shopKey;
  /** By their ids; yours are in a database. */
  private final Map<String, Order> orders = Collections.synchronizedMap(new LinkedHashMap<>());

  BackendController(WeChat wechat, Longlink longlink, JsonMapper json,
      @Value("${ticket.secret}") String ticketSecret, @Value("${shop.key}") String shopKey) {
    this.wechat = wechat;
    this.longlink = longlink;
    this.json = json;
    this.ticketSecret = Keys.hmacShaKeyFor(ticketSecret.getBytes(UTF_8));
    this.shopKey = shopKey.getBytes(UTF_8);
  }

  @PostMapping("/login")
  Map<String, Object> login(@RequestBody JsonNode body) {
    String code = body.path("code").isString() ? body.path("code").asString() : "";
    if (code.isEmpty()) {
      throw new Problem(400, "no_code", "The request needs the code of wx.login.");
    }
    // An id of your own, found by the openid in your database, is better: other users see the id.
    String user = wechat.openidOf(code);
    long expires = Instant.now().getEpochSecond() + TICKET_SECONDS;
    String ticket = Jwts.builder().subject(user).expiration(Date.from(Instant.ofEpochSecond(expires)))
        .signWith(ticketSecret, Jwts.SIG.HS256).compact();
    return Map.of("user", user, "ticket", ticket, "expires", expires);
  }

  @PostMapping("/orders")
  @ResponseStatus(HttpStatus.CREATED)
  Map<String, Object> placeOrder(@RequestHeader(name = "Authorization", required = false) String authorization) {
    String user = userOf(authorization);
    var shown = new Shown(UUID.randomUUID().toString(), "placed");
    orders.put(shown.id, new Order(user, shown));
    return Map.of("order", shown);
  }

  @GetMapping("/orders")
  Map<String, Object> listOrders(@RequestHeader(name = "Authorization", required = false) String authorization) {
    String user = userOf(authorization);
    synchronized (orders) {
      return Map.of("orders", orders.values().stream().filter(it -> it.user.equals(user)).map(Order::shown).toList());
    }
  }

  /**
   * Your own programs call this, perhaps twice. The order is stored first and pushed then: after an error the caller tries
   * again, and the page reads the order when it opens.
   */
  @PostMapping("/orders/{id}/status")
  Map<String, Object> setStatus(@RequestHeader(name = "Authorization", required = false) String authorization,
      @PathVariable String id, @RequestBody JsonNode body) {
    if (!MessageDigest.isEqual(bearer(authorization).getBytes(UTF_8), shopKey)) {
      throw new Problem(401, "no_key", "The request needs the key of the shop.");
    }
    int after = body.path("status").isString() ? STATUSES.indexOf(body.path("status").asString()) : -1;
    Order order = orders.compute(id, (key, before) -> {
      if (before == null) {
        throw new Problem(404, "no_order", "There is no such order.");
      } else if (after < 1) {
        throw new Problem(400, "bad_status", "The status is making or ready.");
      } else if (after < STATUSES.indexOf(before.shown.status)) {
        throw new Problem(409, "status_went_back", "The order is " + before.shown.status + ".");
      }
      return new Order(before.user, new Shown(id, STATUSES.get(after)));
    });
    String push = longlink.push(order.user, Map.of("order", order.shown), "order-" + id + "-" + order.shown.status);
    return Map.of("order", order.shown, "push", push);
  }

  @GetMapping("/online")
  Map<String, Object> online(@RequestHeader(name = "Authorization", required = false) String authorization) {
    userOf(authorization);
    return Map.of("users", longlink.online());
  }

  /** The signature is that of the bytes as they arrived. */
  @PostMapping("/longlink")
  @ResponseStatus(HttpStatus.NO_CONTENT)
  void webhook(@RequestHeader(name = "Longlink-Timestamp", defaultValue = "") String timestamp,
      @RequestHeader(name = "Longlink-Signature", defaultValue = "") String signature, @RequestBody byte[] body) {
    if (!longlink.isSigned(timestamp, signature, body)) {
      throw new Problem(401, "bad_signature", "The request is not signed by longlink, or is too old.");
    }
    longlink.take(json.readValue(body, Longlink.Webhook.class));
  }

  /** Returns the user whose ticket the request has. */
  private String userOf(String authorization) {
    try {
      return Jwts.parser().verifyWith(ticketSecret).build()
          .parseSignedClaims(bearer(authorization)).getPayload().getSubject();
    } catch (JwtException | IllegalArgumentException error) {
      throw new Problem(401, "no_ticket", "The request needs a valid ticket. Log in again.");
    }
  }

  private static String bearer(String authorization) {
    return authorization != null && authorization.startsWith("Bearer ") ? authorization.substring(7) : "";
  }
}
