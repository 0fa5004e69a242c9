package com.example.backend;

import java.util.List;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** The backend of a mini-program that uses longlink: login, tickets, orders that are pushed, webhooks. */
@SpringBootApplication
public class BackendApplication {
  private static final List<String> NEEDED = List.of(
      "APPID", "APPSECRET", "LONGLINK_API", "LONGLINK_KEY", "TICKET_SECRET", "WEBHOOK_SECRET", "SHOP_KEY");

  public static void main(String[] args) {
    var missing = NEEDED.stream().filter(name -> System.getenv().getOrDefault(name, "").isEmpty()).toList();
    if (!missing.isEmpty()) {
      System.err.println("These environment variables are missing: " + String.join(", ", missing));
      System.exit(1);
    }
    SpringApplication.run(BackendApplication.class, args);
  }
}
