-- What search goes by. In a migration of its own: building an index keeps writers waiting while it reads the table, but readers do not wait.

CREATE EXTENSION IF NOT EXISTS pg_trgm;

ALTER TABLE sku VALIDATE CONSTRAINT sku_policy_shape;
ALTER TABLE sku VALIDATE CONSTRAINT sku_policy_backorder_located;

-- Letters as people type them: without case and without marks ("Größe", "GRÖSSE" and "grosse" are one), in every locale. What is not listed stays.
-- Text without marks is the rule, and the list of letters is long: hence the first case.
CREATE FUNCTION fold(original text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN octet_length(original) = char_length(original) THEN lower(original COLLATE "C") ELSE
        replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(translate(lower(original COLLATE "C"),
            'ÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜÝàáâãäåçèéêëìíîïñòóôõöùúûüýÿĀāĂăĄąĆćĈĉĊċČčĎďĒēĔĕĖėĘęĚěĜĝĞğĠġĢģĤĥĨĩĪīĬĭĮįİĴĵĶķĹĺĻļĽľŃńŅņŇňŌōŎŏŐőŔŕŖŗŘřŚśŜŝŞşŠšŢţŤťŨũŪūŬŭŮůŰűŲųŴŵŶŷŸŹźŻżŽžȘșȚțØøĐđÐðŁłĦħıŦŧŀĿĸŋŊΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩЀЁЂЃЄЅІЇЈЉЊЋЌЍЎЏАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ',
            'aaaaaaceeeeiiiinooooouuuuyaaaaaaceeeeiiiinooooouuuuyyaaaaaaccccccccddeeeeeeeeeegggggggghhiiiiiiiiijjkkllllllnnnnnnoooooorrrrrrssssssssttttuuuuuuuuuuuuwwyyyzzzzzzssttooddddllhhittllknnαβγδεζηθικλμνξοπρστυφχψωѐёђѓєѕіїјљњћќѝўџабвгдежзийклмнопрстуфхцчшщъыьэюя'), 'ß', 'ss'), 'ẞ', 'ss'), 'æ', 'ae'), 'Æ', 'ae'), 'œ', 'oe'), 'Œ', 'oe'), 'þ', 'th'), 'Þ', 'th'), 'ĳ', 'ij'), 'Ĳ', 'ij')
    END;
COMMENT ON FUNCTION fold(text) IS 'Letters without case and marks, so that a search finds what was typed otherwise.';

-- All punctuation parts words, so that "black/white" and "3.5" are two words each, in names as in queries.
CREATE FUNCTION words(name text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_tsvector('pg_catalog.simple'::regconfig,
        translate(fold(name), '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~„“”‚‘’«»‹›–—…·•×™®©°§¶¡¿' || chr(160) || chr(8201) || chr(8239), repeat(' ', 59)));
COMMENT ON FUNCTION words(text) IS 'The words of a name, as search compares them.';

-- All that a person may remember with typing errors, in one text so that one index finds it.
CREATE FUNCTION remembered(code text, gtin text, name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN fold((code || ' ' || coalesce(gtin, '') || ' ' || name) COLLATE "C");
COMMENT ON FUNCTION remembered(text, text, text) IS 'Code, GTIN and name as one text, for searches with typing errors.';

CREATE INDEX sku_by_folded_code ON sku ((fold(code) COLLATE "C"));
CREATE INDEX sku_by_gtin ON sku ((gtin COLLATE "C")) WHERE gtin IS NOT NULL;
CREATE INDEX sku_by_words ON sku USING gin (words(name));
CREATE INDEX sku_by_trigrams ON sku USING gin (remembered(code, gtin, name) gin_trgm_ops);
CREATE INDEX sku_restricted ON sku (code) WHERE restricted;
CREATE INDEX sku_lost_offers ON sku (code) WHERE lost_offers;
COMMENT ON INDEX sku_by_folded_code IS 'Serves searches for a code and for the beginning of one.';
COMMENT ON INDEX sku_by_gtin IS 'Serves searches for a GTIN and for the beginning of one, and the filter of ListSkus.';
COMMENT ON INDEX sku_by_words IS 'Serves searches for words of the name.';
COMMENT ON INDEX sku_by_trigrams IS 'Serves searches with typing errors.';
COMMENT ON INDEX sku_restricted IS 'Serves the relay to reservation when it begins with everything.';
COMMENT ON INDEX sku_lost_offers IS 'Serves the relay to vendor-sync when it begins with everything.';
