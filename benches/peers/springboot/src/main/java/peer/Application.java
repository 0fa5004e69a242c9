package peer;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.web.server.context.WebServerInitializedEvent;
import org.springframework.boot.web.servlet.ServletContextInitializer;
import org.springframework.context.annotation.Bean;
import org.springframework.context.event.EventListener;
import org.springframework.web.socket.server.standard.ServerEndpointExporter;

/**
 * A Spring Boot server as many articles on mini-programs describe it: a {@code @ServerEndpoint} for
 * {@code /websocket/{userId}} and a pool of sessions.
 *
 * <pre>java -jar peer.jar 127.0.0.1:PORT</pre>
 */
@SpringBootApplication
public class Application {
    /** Tomcat refuses longer messages with the code 1009; its default is 8 KiB. */
    private static final String LONGEST_MESSAGE = "65536";

    public static void main(String[] arguments) {
        String[] address = arguments[0].split(":");
        SpringApplication application = new SpringApplication(Application.class);
        application.setDefaultProperties(java.util.Map.of(
            "server.address", address[0],
            "server.port", address[1],
            "server.tomcat.max-connections", "20000",
            "spring.main.banner-mode", "off",
            "logging.level.root", "error"));
        application.run();
    }

    @Bean
    ServerEndpointExporter serverEndpointExporter() {
        return new ServerEndpointExporter();
    }

    @Bean
    ServletContextInitializer longestMessage() {
        return context ->
            context.setInitParameter("org.apache.tomcat.websocket.textBufferSize", LONGEST_MESSAGE);
    }

    @EventListener
    void listening(WebServerInitializedEvent event) {
        System.out.println("listening on 127.0.0.1:" + event.getWebServer().getPort());
    }
}
