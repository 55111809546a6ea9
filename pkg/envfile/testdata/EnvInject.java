import java.io.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import java.util.regex.*;

/**
 * Reads properties files by the rules of Jenkins' EnvInject plugin, old and new, with the JVM's own
 * java.util.Properties. For each path on stdin it prints NAME=value pairs, each ended by NUL, in order of
 * name, for one version and then the other, each list ended by one NUL more.
 */
public class EnvInject {
    static final Map<String, String> ENV = Map.of("HOME", "/expanded", "a", "expanded", "A", "expanded", "0", "expanded");
    static final Pattern VARIABLE = Pattern.compile("\\$([A-Za-z0-9_]+|\\{[A-Za-z0-9_.]+\\}|\\$)");

    /** What Jenkins' Util.replaceMacro does: $NAME and ${NAME} if they are set, and $ for $$. */
    static String expand(String s) {
        StringBuilder out = new StringBuilder();
        Matcher m = VARIABLE.matcher(s);
        int from = 0;
        while (m.find()) {
            String name = m.group(1).replaceAll("[{}]", "");
            String value = name.equals("$") ? "$" : ENV.get(name);
            out.append(s, from, m.start()).append(value == null ? m.group() : value);
            from = m.end();
        }
        return out.append(s.substring(from)).toString();
    }

    static Map<String, String> load(String text, boolean escapeFirst) throws IOException {
        if (escapeFirst) {
            // Since 2.1: single backslashes stay, but before a few characters; a value's first two are four.
            text = text.replaceAll("(?<![\\\\])\\\\(?![n:*?\"<>\\\\/])(?![\\\\])(?![\n])", "\\\\\\\\");
            text = text.replaceAll("(?m)^([^=]+=)(\\\\\\\\)(?![:*?\"<>\\\\/])", "$1\\\\\\\\\\\\\\\\");
        }
        Properties p = new Properties();
        p.load(new StringReader(text));
        Map<String, String> result = new TreeMap<>();
        for (Map.Entry<Object, Object> e : p.entrySet()) {
            // Once by the loader, once more when all variables are resolved; what still has a $ is dropped.
            String value = expand(expand(e.getValue().toString()).trim());
            if (!value.contains("$")) {
                result.put(expand(e.getKey().toString()).trim(), value);
            }
        }
        return result;
    }

    public static void main(String[] args) throws IOException {
        BufferedReader paths = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, "UTF-8");
        for (String path; (path = paths.readLine()) != null;) {
            String text = Files.readString(Path.of(path));
            for (boolean escapeFirst : new boolean[] {false, true}) {
                load(text, escapeFirst).forEach((k, v) -> out.print(k + "=" + v + "\0"));
                out.print("\0");
            }
            out.flush();
        }
    }
}
