import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Arrays;
import java.util.stream.Collectors;

import static java.nio.charset.StandardCharsets.UTF_8;

/** Asks a served model: java Predict.java http://127.0.0.1:5000/predict gender=male age=22 */
public class Predict {
    private static final HttpClient CLIENT = HttpClient.newHttpClient(); // one for all requests: it keeps connections

    public static void main(String[] arguments) throws Exception {
        String[] row = Arrays.copyOfRange(arguments, 1, arguments.length);
        HttpResponse<String> answer = ask(URI.create(arguments[0]), row);
        boolean answered = answer.statusCode() == 200;
        (answered ? System.out : System.err).println(answer.body()); // JSON, also where a field is wrong
        System.exit(answered ? 0 : 1);
    }

    /** The columns of one row, as name=value, in any order; a value that is missing is left out. */
    static HttpResponse<String> ask(URI predict, String... row) throws Exception {
        String form = Arrays.stream(row).map(Predict::encoded).collect(Collectors.joining("&"));
        HttpRequest request = HttpRequest.newBuilder(predict)
            .header("Content-Type", "application/x-www-form-urlencoded").POST(BodyPublishers.ofString(form)).build();
        return CLIENT.send(request, BodyHandlers.ofString());
    }

    private static String encoded(String pair) {
        String[] parts = pair.split("=", 2);
        return URLEncoder.encode(parts[0], UTF_8) + "=" + URLEncoder.encode(parts[1], UTF_8);
    }
}
