import java.util.HashMap;
import java.util.Map;

import org.pmml4s.model.Model;

/**
 * Evaluates a PMML file, with no Python and no service: java -cp "JARS/*" Score.java model.pmml gender=male age=22
 * JARS: those of PMML4S, org.pmml4s:pmml4s_2.13 in Maven Central, or the folder `jars` of the Python package pypmml.
 */
public class Score {
    public static void main(String[] arguments) {
        Model model = Model.fromFile(arguments[0]);
        Map<String, Object> row = new HashMap<>();
        for (int i = 1; i < arguments.length; i++) {
            String[] parts = arguments[i].split("=", 2);
            row.put(parts[0], parts[1]); // a column that is left out is missing
        }
        model.predict(row).forEach((name, value) -> System.out.println(name + " " + value));
    }
}
